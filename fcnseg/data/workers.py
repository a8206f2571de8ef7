"""Worker processes that prepare samples: how they start, how they end, what they hand over."""

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from fcnseg.errors import EnvironmentFault, FcnsegError, UsageError

_KEPT_BYTES = 1 << 24
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LESS_MEMORY = "lower --workers or --batch-size"

_ENDING = tuple(n for n in signal.Signals if n.name in ("SIGINT", "SIGTERM", "SIGHUP"))
# Iterators that have workers, and the process whose workers they are.
_RUNNING: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def in_order(tasks: Any, workers: int, remedy: str = "lower --workers") -> Iterator[Any]:
    """Yield ``tasks[0]``, ``tasks[1]``, … as they are, prepared by ``workers`` processes.

    ``tasks`` is picklable and has ``__len__`` and ``__getitem__``, which returns an error of ours
    in place of raising it; here it is raised. ``remedy`` is what to do where a worker is killed.

    Raises:
        UsageError: fewer than 0 workers.
        EnvironmentFault: while iterating, a worker process was killed.
    """
    if workers < 0:
        raise UsageError(f"--workers: expected 0 or more, got {workers}")
    if len(tasks) == 0:
        return
    loader: DataLoader = DataLoader(
        tasks, batch_size=None, collate_fn=_as_it_is, **loader_settings(min(workers, len(tasks)))
    )
    yield from results(loader, remedy)


def results(loader: DataLoader, remedy: str) -> Iterator[Any]:
    """Yield what ``loader`` gives; an error of ours among it is raised.

    Raises :class:`EnvironmentFault`, which ends in ``remedy``, where a worker was killed.
    """
    with killed_workers_named(remedy):
        # A name for the iterator would keep it, and its processes, for as long as the error lives.
        for item in _started(loader):
            if isinstance(item, FcnsegError):
                raise item
            yield item


@contextlib.contextmanager
def killed_workers_named(remedy: str = LESS_MEMORY) -> Iterator[None]:
    """Raise :class:`EnvironmentFault`, which ends in ``remedy``, where a worker was killed.

    torch learns of that by a signal, and raises its own error wherever the main process is then:
    asking for a batch, or in the middle of a step.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise EnvironmentFault(
            f"--workers: a loader process was killed (out of memory?); {remedy}"
        ) from error


def loader_settings(workers: int) -> dict[str, Any]:
    """Return the arguments that every ``DataLoader`` here has."""
    _keep_freed_memory()
    # Without a generator of its own, iter(DataLoader) draws from torch's global one.
    return {
        "num_workers": workers,
        "generator": torch.Generator().manual_seed(0),
        "worker_init_fn": _start_worker if workers else None,
    }


def _start_worker(worker: int) -> None:  # noqa: ARG001
    # OpenCV's threads do not survive a fork, and workers are the parallelism already.
    import cv2

    cv2.setNumThreads(0)
    _keep_freed_memory()
    _leave_signals_to_the_main_process()
    _end_with_the_main_process()


def _leave_signals_to_the_main_process() -> None:
    # Ctrl-C, the SIGHUP of a closed terminal, and a SIGTERM to all processes of a job, reach the
    # workers too. The main process needs their batches to finish its step, and ends them itself:
    # asking, then by SIGTERM.
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _end_with_the_main_process() -> None:
    # A worker looks every five seconds whether the main process, which may have been killed, is
    # there; until then it would hold open the connections that were open as it was forked, and
    # the other processes of a training would wait.
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _ignore_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.signal(number, signal.SIG_DFL)


def _started(loader: DataLoader) -> Iterator[Any]:
    """Start the workers, so that they receive no signal before they are ready for it."""
    if not hasattr(signal, "pthread_sigmask"):
        return _noted(loader)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        return _noted(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _noted(loader: DataLoader) -> Iterator[Any]:
    iterator = iter(loader)
    if loader.num_workers:
        _RUNNING[iterator] = os.getpid()
    return iterator


def _end_all() -> None:
    # Where a program ends with an iterator at hand, Python sends each worker the one SIGTERM that
    # it ignores, and waits for it for ever. torch's own way to end workers asks them first; it is
    # run before, since of the functions to call at exit the last that was registered comes first.
    for iterator, process in list(_RUNNING.items()):
        if process == os.getpid():
            iterator._shutdown_workers()


atexit.register(_end_all)


def _keep_freed_memory() -> None:
    # glibc takes the largest block that was freed as the size of what is worth keeping. Without a
    # large one, the pages of a photograph go back to the system after each sample, and asking for
    # them again takes a sixth of the time that decoding does.
    np.empty(_KEPT_BYTES, np.uint8)


def _as_it_is(item: Any) -> Any:
    return item
