"""A list of work shared out among processes that know nothing of one another."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fcnseg.errors import EnvironmentFault, UsageError

_LOOK_S = 0.5


@dataclass(frozen=True)
class Shard:
    """The part of a list of chunks that this process computes: every ``count``-th of them.

    Attributes:
        number: from 1 to ``count``.
        count: how many parts there are.
        by_torchrun: torchrun started a process for each.
    """

    number: int = 1
    count: int = 1
    by_torchrun: bool = False

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def path(self, path: Path) -> Path:
        """What a file is called that each shard has one of: ``all.2-of-4.json``."""
        if self.count == 1:
            return path
        return path.with_name(f"{path.stem}.{self.number}-of-{self.count}{path.suffix}")


def read_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard of ``--shard i/n``, else that of the variables that torchrun sets.

    Raises:
        UsageError: no two numbers, a number beyond the count, or torchrun as well.
    """
    rank, size = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
    by_torchrun = rank.isdigit() and size.isdigit() and int(size) > 1
    if text is None:
        return Shard(int(rank) + 1, int(size), True) if by_torchrun else Shard()
    if by_torchrun:
        raise UsageError(
            f"--shard {text}: torchrun gives each of its {size} processes a share already; leave "
            "one of the two out"
        )
    number, slash, count = text.partition("/")
    right = slash and all(n.isascii() and n.isdigit() for n in (number, count))
    if not right or not 1 <= int(number) <= int(count):
        raise UsageError(f"--shard {text}: expected i/n, such as 1/4, 2/4, 3/4 and 4/4")
    return Shard(int(number), int(count))


def device_of(
    name: str, shard: Shard, gpus: int, environment: Mapping[str, str] = os.environ
) -> str:
    """The device of a process: of torchrun's, each takes the GPU of its local rank.

    Args:
        name: as ``--device``.
        shard: of this process.
        gpus: how many there are on this machine.
        environment: what torchrun set.

    Raises:
        EnvironmentFault: more processes than GPUs.
    """
    if not shard.by_torchrun or not gpus or name not in ("auto", "cuda"):
        return name
    local = int(environment.get("LOCAL_RANK", "0"))
    if local >= gpus:
        raise EnvironmentFault(
            f"torchrun: process {local} of this machine finds {gpus} GPUs; lower --nproc-per-node "
            "or give --device cpu"
        )
    return f"cuda:{local}"


def end_with_others(shard: Shard, code: int) -> None:
    """Return when this process may end with ``code``.

    torchrun ends all processes as soon as one ends with another code than 0: one that passed over
    a bad file waits until all have done their share, or until nobody can say so any more.
    """
    if not shard.by_torchrun or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    import torch.distributed as dist

    # Of several machines, the store ends with the first one: there is nothing left to wait for.
    with suppress(RuntimeError, OSError):
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=60))))
        names = [f"fcnseg predict {number}" for number in range(1, shard.count + 1)]
        store.set(names[shard.number - 1], "done")
        while code and not store.check(names):
            time.sleep(_LOOK_S)
