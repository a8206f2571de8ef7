"""Signals within a step, between steps, twice, and where they do not concern us."""

import contextlib
import os
import pty
import signal
import threading
from collections.abc import Callable

import pytest

from fcnseg.engine import interrupt
from fcnseg.engine.interrupt import Interruption
from fcnseg.errors import Interrupted

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets more time pass than two deliveries of one signal lie apart."""
    now = [0.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])

    def pass_time() -> None:
        now[0] += 1.5

    return pass_time


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_between_steps_a_signal_ends_at_once(number: signal.Signals, code: int) -> None:
    named = rf"^interrupted by {number.name}$"
    with pytest.raises(Interrupted, match=named) as caught, Interruption():
        send(number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_in_a_step_a_signal_waits(number: signal.Signals, code: int) -> None:
    done = []

    def loop(stop: Interruption) -> None:
        for step in range(3):
            with stop.at_step():
                assert not stop.requested
                if step == 1:
                    send(number)
                    assert stop.requested
                done.append(step)
            if stop.requested:
                raise stop.error("all is saved")

    with pytest.raises(Interrupted, match=r"; all is saved$") as caught, Interruption() as stop:
        loop(stop)
    assert done == [0, 1]
    assert caught.value.exit_code == code


def test_a_second_signal_ends_a_step(later: Callable[[], None]) -> None:
    with Interruption() as stop, stop.at_step():
        send(signal.SIGINT)
        send(signal.SIGINT)  # the same Ctrl-C, handed on by torchrun
        later()
        with pytest.raises(Interrupted) as caught:
            send(signal.SIGTERM)
    assert caught.value.exit_code == 130  # the first says why


def test_a_closed_terminal_does_not_keep_a_step_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, terminal = pty.openpty()
    monkeypatch.setattr(interrupt, "_OUTPUTS", (terminal,))
    try:
        with Interruption() as stop, stop.at_step():
            os.close(there)
            with pytest.raises(OSError, match="Input/output error"):
                os.write(terminal, b"step 1")
            send(signal.SIGHUP)
            os.write(terminal, b"step 1")
            assert stop.requested
    finally:
        os.close(terminal)


def test_what_a_library_swallows_stays_requested() -> None:
    with Interruption() as stop:
        with contextlib.suppress(Exception):
            send(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(Interrupted, match=r"^interrupted by SIGTERM$"):
            raise stop.error()


def test_handlers_are_as_before_afterwards() -> None:
    def own(number: int, frame: object) -> None:
        heard.append(number)

    heard: list[int] = []
    before = [signal.signal(number, own) for number, _ in SIGNALS]
    try:
        with Interruption():
            pass
        for number, _ in SIGNALS:
            send(number)
    finally:
        for (number, _), handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    assert heard == [15, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            send(number)
            assert not stop.requested
    finally:
        signal.signal(number, before)


def test_in_another_thread_it_does_nothing() -> None:
    def enter() -> None:
        with Interruption():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_a_forked_process_is_not_interrupted() -> None:
    with Interruption() as stop:
        child = os.fork()
        if child == 0:
            send(signal.SIGTERM)
            os._exit(7 if not stop.requested else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_a_signal_the_error_is_that_of_sigterm() -> None:
    """Another process of a training may have been the one to hear it."""
    error = Interruption().error("kept")
    assert (str(error), error.exit_code) == ("interrupted by SIGTERM; kept", 143)
