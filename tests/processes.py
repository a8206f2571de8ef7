"""Several processes of one training, as torchrun would start them.

They are forked from a server that has no threads: a child of the test's own process, whose
threads may hold a lock at that moment, would now and then hang before its first line.
"""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fcnseg.cli.faults import exit_code_and_line


@dataclass(frozen=True)
class Ending:
    """How a process ended: with a value, with an exit code and a line, or by a signal (< 0)."""

    value: Any = None
    code: int = 0
    line: str = ""


def together(function: Callable[..., Any], *args: Any, size: int = 2) -> list[Ending]:
    """Run ``function(*args)`` in ``size`` processes; how each ended, by rank.

    Fails if one has not ended after a minute.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["fcnseg.training"])
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ends = [server.Pipe(duplex=False) for _ in range(size)]
    processes = [
        server.Process(target=_run, args=(ends[rank][1], environment, function, args))
        for rank, environment in enumerate(_environments(size, store.port))
    ]
    for process, (_, writer) in zip(processes, ends, strict=True):
        process.start()
        writer.close()
    for process in processes:
        process.join(60)
    hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
    assert not hanging, f"processes {hanging} did not end"
    return [_ending(p, reader) for p, (reader, _) in zip(processes, ends, strict=True)]


def _environments(size: int, port: int) -> list[dict[str, str]]:
    """What torchrun would put into the environment of each process."""
    # As torchrun does, this test keeps the store, which so outlives each process.
    common = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    return [dict(os.environ) | common | rank for rank in ranks]


def _run(writer: Any, environment: dict[str, str], function: Callable[..., Any], args: Any) -> None:
    os.environ.update(environment)  # the server's is that of the first test
    torch.set_num_threads(1)
    try:
        writer.send_bytes(pickle.dumps(Ending(function(*args))))
    except (Exception, KeyboardInterrupt) as error:
        code, line = exit_code_and_line(error)
        writer.send_bytes(pickle.dumps(Ending(None, code, line)))
    sys.stdout.flush()
    os._exit(0)


def _ending(process: Any, reader: Any) -> Ending:
    if process.exitcode == 0 and reader.poll():
        ending: Ending = pickle.loads(reader.recv_bytes())
        return ending
    return Ending(code=process.exitcode)
