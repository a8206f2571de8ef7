"""SIGTERM, SIGINT, SIGHUP: between two steps the process ends at once, within one after saving."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from fcnseg.errors import Interrupted

# Ctrl-C under torchrun reaches a process from the terminal and from torchrun, one after the other.
_SAME_SIGNAL_S = 1.0
_OUTPUTS = (1, 2)
# A terminal that is closed sends SIGHUP, which Windows does not have.
_HEARD = tuple(n for n in signal.Signals if n.name in ("SIGTERM", "SIGINT", "SIGHUP"))


class Interruption:
    """What a loop that saves needs to know of signals; a context manager.

    Within ``with stop.at_step():`` a signal only sets :attr:`requested`; the loop saves and then
    raises :meth:`error`. Anywhere else in the block a signal raises :class:`Interrupted` at once,
    and so does a second one (more than a second after the first) everywhere.

    A signal that was not followed by an :class:`Interrupted` stays requested: where a library
    swallows the error, or the signal comes too late in a step to be seen, the next step sees it.

    Once a terminal was closed, what is still written to it goes nowhere.

    A signal that was ignored before, as SIGHUP is under ``nohup``, stays ignored.

    In a thread other than the main one, where Python takes no signals, it does nothing; nor does
    it in a process that was forked from this one.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._first = 0.0
        self._in_step = False
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        self._terminals: list[int] = []

    @property
    def requested(self) -> bool:
        """True from the first signal on."""
        return self._signal is not None

    def __enter__(self) -> "Interruption":
        self._process = os.getpid()
        self._terminals = [number for number in _OUTPUTS if os.isatty(number)]
        if threading.current_thread() is threading.main_thread():
            for number in _HEARD:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_step(self) -> Iterator[None]:
        """Put a signal off until the loop asks for it."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False

    def error(self, kept: str = "") -> Interrupted:
        """The error to raise; ``kept`` is what there is of the work, and how to go on.

        Without a signal it is that of a SIGTERM, which another process of a training may have had.
        """
        number = self._signal or signal.SIGTERM
        text = f"interrupted by {number.name}"
        return Interrupted(f"{text}; {kept}" if kept else text, 128 + number)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if os.getpid() != self._process:
            return
        self._leave_closed_terminals()
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._first = signal.Signals(number), now
            if self._in_step:
                return
        elif now - self._first < _SAME_SIGNAL_S:
            return
        raise self.error()

    def _leave_closed_terminals(self) -> None:
        # To write to a terminal that was closed is an error, which would come before the save.
        for number in self._terminals:
            if not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
