"""What the processes of a training tell each other outside of collectives: which one failed, why.

They tell it through the key-value store that torchrun keeps, which needs no answer from the
others and outlives each of them.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch.distributed as dist

from fcnseg.errors import AlreadySaid, EnvironmentFault, FcnsegError, Interrupted

_FAULT, _INTERRUPTED = "fault", "interrupted"
_POLL_S = 0.5
# How long a process may go on after another has failed, or after a signal; torchrun kills after 30.
_GRACE_AFTER_FAULT_S, _GRACE_AFTER_SIGNAL_S = 10.0, 20.0
_ENDING = tuple(n for n in signal.Signals if n.name in ("SIGTERM", "SIGHUP"))


class PeerLost(EnvironmentFault):
    """A collective failed, because another process of the training ended or does not answer."""


@dataclass(frozen=True)
class Word:
    """Why a process ends: its rank, the line that it prints, its exit code."""

    rank: int
    line: str
    code: int


class Peers:
    """The processes of a training as one of them sees them through ``store``."""

    def __init__(self, store: "dist.Store", rank: int, size: int) -> None:
        self._store, self.rank, self.size = store, rank, size
        self._blocks = 0

    def fault(self) -> Word | None:
        """The first failure that a process told of, ``None`` if there was none."""
        return self._read(_FAULT)

    def last_word(self, error: BaseException) -> BaseException:
        """What this process, which ends for ``error``, raises in its place.

        The first process to fail, or to be interrupted, tells the others; they end for that
        reason. One process on each machine says it, the rest are silent (:class:`AlreadySaid`).
        """
        interrupted = isinstance(error, (Interrupted, KeyboardInterrupt))
        if not (interrupted or isinstance(error, PeerLost) or _is_collective(error)):
            return self._own(error)
        fault = self.fault()  # torchrun ends the others by SIGTERM where one fails
        if fault is not None:
            error = self._lost(fault)
        elif interrupted:
            self._claim(_INTERRUPTED, self._word(error))
        else:
            other = self._read(_INTERRUPTED)
            error = Interrupted(other.line, other.code) if other else PeerLost(_reason(error))
        own = self._word(error)
        return error if self._claim(_machine(), own) == own else AlreadySaid(own.line, own.code)

    def _own(self, error: BaseException) -> BaseException:
        own = self._word(error)
        said = self._claim(_machine(), own)
        if self._claim(_FAULT, own) == own:
            _tell_torchrun(own.line)
        if said != own and said.line == own.line:
            return AlreadySaid(own.line, own.code)
        return error

    def _word(self, error: BaseException) -> Word:
        text = " ".join(str(error).split())
        if isinstance(error, FcnsegError):
            return Word(self.rank, text, error.exit_code)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        return Word(self.rank, f"{type(error).__name__}: {text}", code)

    def _lost(self, fault: Word) -> PeerLost:
        return PeerLost(f"process {fault.rank} of {self.size} failed: {fault.line}")

    def _claim(self, key: str, own: Word) -> Word:
        """What stands under ``key``: what another process put there, else now ``own``."""
        with contextlib.suppress(Exception):  # the store ends with the machine that keeps it
            text = json.dumps([own.rank, own.line, own.code])
            return Word(*json.loads(self._store.compare_set(key, "", text)))
        return own

    def _read(self, key: str) -> Word | None:
        with contextlib.suppress(Exception):
            if self._store.check([key]):
                return Word(*json.loads(self._store.get(key)))
        return None

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Rank 0 runs the block, then the others do; rank 0's failure is raised in all."""
        self._blocks += 1
        done = f"block {self._blocks}"
        if self.rank == 0:
            yield
            self._store.set(done, "")
            return
        while not self._has(done):
            if self.fault() or self._read(_INTERRUPTED):
                raise PeerLost("process 0 ended")
            time.sleep(_POLL_S / 5)
        yield

    def _has(self, key: str) -> bool:
        try:
            return bool(self._store.check([key]))
        except RuntimeError as error:
            raise PeerLost("torchrun: the machine of process 0 does not answer") from error

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """End this process, if the block does not by itself, after a failure, SIGTERM or SIGHUP.

        A process that waits for another inside a library runs no Python: it would neither see a
        signal nor another's failure before the timeout, which may be long.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(woken, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            signal.set_wakeup_fd(before)
            waker.close()
            thread.join()
            woken.close()

    def _watch(self, woken: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            ready, _, _ = select.select([woken], [], [], _POLL_S)
            received = woken.recv(64) if ready else b""
            fault = self.fault()
            if fault is not None and not over.wait(_GRACE_AFTER_FAULT_S):
                _leave(self.last_word(self._lost(fault)), 5)
            number = next((number for number in _ENDING if number in received), None)
            if number is not None and not over.wait(_GRACE_AFTER_SIGNAL_S):
                text = f"interrupted by {number.name} in a step that does not end"
                _leave(Interrupted(text, 128 + number), 128 + number)


def _leave(error: BaseException, code: int) -> None:
    if not isinstance(error, AlreadySaid):
        with contextlib.suppress(OSError):  # a terminal that was closed
            os.write(sys.stderr.fileno(), f"error: {error}\n".encode())
    os._exit(code)


def _machine() -> str:
    return f"said on {socket.gethostname()}"


def _reason(error: BaseException) -> str:
    """What a failed collective means, for a person."""
    if isinstance(error, PeerLost) and error.__cause__ is None:
        return str(error)
    if "timed out" in str(error).lower() or "timeout" in str(error).lower():
        return (
            "torchrun: another process of this training does not answer; find what holds it, "
            "then continue the run with --resume"
        )
    return (
        "torchrun: another process of this training was killed (out of memory?) or lost its "
        "connection; continue the run with --resume"
    )


def _is_collective(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _tell_torchrun(line: str) -> None:
    """Have torchrun's own report, which comes last on the screen, end with the line."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path:
        return
    shown = {"py_callstack": line, "timestamp": str(int(time.time()))}
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        json.dump({"message": {"message": line, "extraInfo": shown}}, file)
