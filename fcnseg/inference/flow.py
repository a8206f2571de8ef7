"""Files through a network: reading ahead of it and writing behind it, in threads.

The network itself is called in the thread of the caller, one chunk of items after the other, in
order: what it computes does not depend on how fast the disk is.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from fcnseg.errors import DataError

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
C = TypeVar("C")
W = TypeVar("W")

_LOOK_S = 0.05  # between two looks at whether another thread has failed, or a signal has come


@dataclass(frozen=True)
class Outcome(Generic[I, W]):
    """What became of one item.

    Attributes:
        item: the item.
        result: what ``write`` gave, None where there is an error.
        error: why the item was passed over, else None.
    """

    item: I
    result: W | None = None
    error: DataError | None = None


def chunks_of(items: Iterable[I], size: int) -> Iterator[list[I]]:
    """Cut items into lists of ``size``, the last of which may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def overlapped(
    chunks: Iterable[Sequence[I]],
    read: Callable[[I], R],
    compute: Callable[[Sequence[I], Sequence[R]], Sequence[C | DataError]],
    write: Callable[[I, C], W],
    *,
    readers: int = 2,
    writers: int = 2,
    ahead: int = 2,
    behind: int | None = None,
) -> Generator[Outcome[I, W], None, None]:
    """Read, compute and write items, all three at once; give the outcome of each in order.

    A :class:`DataError` of an item, raised by ``read`` or ``write`` or among the results of
    ``compute``, is its outcome, and the others go on. Any other error of any thread ends the
    whole before the next chunk is computed: items that were not begun are dropped, and files that
    are being written are finished, so that nothing is left half-written. The same holds where the
    caller closes the iterator, or a signal raises in it; use :func:`contextlib.closing`.

    Args:
        chunks: lists of items that are computed together. They are taken only as they are needed.
        read: item -> value, called in threads.
        compute: (items, their values) -> a result each, in order. Called by this thread, with the
            items of one chunk that could be read; not if there are none.
        write: (item, result) -> what is to be said of it, called in threads.
        readers: threads that read.
        writers: threads that write.
        ahead: chunks that are read ahead of the one that is computed.
        behind: results that may wait to be written while the next chunk is computed, twice as
            many as there are writers if None; 0: none, for results that fill the memory.
    """
    reading = ThreadPoolExecutor(readers, "read")
    writing = ThreadPoolExecutor(writers, "write")
    coming = iter(chunks)
    before: deque[tuple[Sequence[I], list[Future[R | DataError]]]] = deque()
    waiting: deque[tuple[I, Future[W | DataError]]] = deque()
    most = 2 * writers if behind is None else behind

    def all_futures() -> Iterator[Future[Any]]:
        yield from (future for _, futures in before for future in futures)
        yield from (future for _, future in waiting)

    def read_ahead() -> None:
        while len(before) <= ahead and (chunk := next(coming, None)) is not None:
            before.append((chunk, [reading.submit(_kept, read, item) for item in chunk]))

    def first_outcome() -> Outcome[I, W]:
        result = _awaited(waiting[0][1], all_futures)
        item, _ = waiting.popleft()
        if isinstance(result, DataError):
            return Outcome(item, error=result)
        return Outcome(item, result)

    try:
        read_ahead()
        while before:
            chunk = before[0][0]
            values = [_awaited(future, all_futures) for future in before[0][1]]
            before.popleft()
            read_ahead()
            _raise_first(all_futures())
            results = _computed(chunk, values, compute)
            del values
            for item in chunk:
                waiting.append((item, _written(writing, write, item, results.popleft())))
            while waiting and (len(waiting) > most or waiting[0][1].done()):
                yield first_outcome()
        while waiting:
            yield first_outcome()
    finally:
        for pool in (reading, writing):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (reading, writing):
            pool.shutdown()


def _computed(
    chunk: Sequence[I],
    values: list[R | DataError],
    compute: Callable[[Sequence[I], Sequence[R]], Sequence[C | DataError]],
) -> deque[C | DataError]:
    """A result, or a fault, for each item of a chunk."""
    good = [(i, v) for i, v in zip(chunk, values, strict=True) if not isinstance(v, DataError)]
    made = iter(compute([i for i, _ in good], [v for _, v in good]) if good else ())
    return deque(v if isinstance(v, DataError) else next(made) for v in values)


def _written(
    pool: ThreadPoolExecutor, write: Callable[[I, C], W], item: I, result: C | DataError
) -> "Future[W | DataError]":
    if not isinstance(result, DataError):
        return pool.submit(_kept, write, item, result)
    passed_over: Future[W | DataError] = Future()
    passed_over.set_result(result)
    return passed_over


def _kept(work: Callable[..., R], *values: Any) -> R | DataError:
    """What the work gives, or the fault of the item."""
    try:
        return work(*values)
    except DataError as error:
        return error


def _awaited(future: "Future[R]", others: Callable[[], Iterator["Future[Any]"]]) -> R:
    """The result of a thread, or the error of whichever thread fails before."""
    while not future.done():
        # Without a limit, Windows would take no signal here.
        wait([future], _LOOK_S)
        _raise_first(others())
    return future.result()


def _raise_first(futures: Iterator["Future[Any]"]) -> None:
    for future in futures:
        if future.done() and (error := future.exception()) is not None:
            raise error
