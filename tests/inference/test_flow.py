"""Reading and writing in threads, beside a computation in order."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from fcnseg.errors import DataError, EnvironmentFault
from fcnseg.inference.flow import chunks_of, overlapped


def plus_one(_: Sequence[int], values: Sequence[int]) -> list[int]:
    return [value + 1 for value in values]


def outcomes(**stages: Callable[..., Any]) -> list[Any]:
    chosen: dict[str, Any] = {
        "read": lambda item: item * 10,
        "compute": plus_one,
        "write": lambda item, result: (item, result),
    }
    found = overlapped(chunks_of(range(10), 4), **{**chosen, **stages})
    return [(o.item, o.error if o.error else o.result) for o in found]


def test_chunks() -> None:
    assert list(chunks_of(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks_of([], 2)) == []
    assert list(overlapped([], int, plus_one, print)) == []


def test_results_come_in_order_whatever_takes_long() -> None:
    def slow_at_first(item: int, *rest: Any) -> Any:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return (item, *rest) if rest else item * 10

    expected = [(item, (item, item * 10 + 1)) for item in range(10)]
    assert outcomes(read=slow_at_first, write=slow_at_first) == expected


def test_the_network_is_called_in_order_in_the_thread_of_the_caller() -> None:
    seen = []

    def compute(items: Sequence[int], values: Sequence[int]) -> list[int]:
        assert threading.current_thread() is threading.main_thread()
        seen.append((list(items), list(values)))
        return list(values)

    outcomes(compute=compute)
    assert seen == [
        ([0, 1, 2, 3], [0, 10, 20, 30]), ([4, 5, 6, 7], [40, 50, 60, 70]), ([8, 9], [80, 90]),
    ]  # fmt: skip


def test_reading_and_writing_run_beside_the_computation() -> None:
    # Each stage waits for another to be at work on another item: one after the other would hang.
    reading, writing = threading.Barrier(2, timeout=10), threading.Barrier(2, timeout=10)

    def read(item: int) -> int:
        if item == 1:
            reading.wait()
        return item

    def compute(items: Sequence[int], values: Sequence[int]) -> Sequence[int]:
        if items == [0]:
            reading.wait()
        if items == [1]:
            writing.wait()
        return values

    def write(item: int, _: int) -> None:
        if item == 0:
            writing.wait()

    found = list(overlapped([[0], [1]], read, compute, write))
    assert [outcome.error for outcome in found] == [None, None]


def test_a_fault_of_an_item_leaves_the_others() -> None:
    def read(item: int) -> int:
        if item in (1, 8, 9):
            raise DataError(f"{item}: bad")
        return item * 10

    def compute(items: Sequence[int], values: Sequence[int]) -> list[Any]:
        return [DataError("2: strip") if i == 2 else v for i, v in zip(items, values, strict=True)]

    def write(item: int, result: int) -> int:
        if item == 5:
            raise DataError("5: full")
        return result

    found = outcomes(read=read, compute=compute, write=write)
    assert [(i, str(r)) for i, r in found] == [
        (0, "0"), (1, "1: bad"), (2, "2: strip"), (3, "30"), (4, "40"), (5, "5: full"),
        (6, "60"), (7, "70"), (8, "8: bad"), (9, "9: bad"),
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_any_other_error_ends_the_whole_before_the_next_chunk(stage: str) -> None:
    computed: list[int] = []

    def fail(*_: Any) -> Any:
        raise EnvironmentFault("disk full")

    def compute(items: Sequence[int], values: Sequence[int]) -> Sequence[int]:
        time.sleep(0.02)
        computed.extend(items)
        return values

    stages: dict[str, Any] = {"compute": compute, stage: fail}
    with pytest.raises(EnvironmentFault, match="disk full"):
        outcomes(**stages)
    assert len(computed) <= 4
    assert threading.active_count() < 10


def test_a_failing_writer_is_noticed_while_a_reader_is_slow() -> None:
    def read(item: int) -> int:
        time.sleep(0 if item < 4 else 3)
        return item

    def fail(*_: Any) -> None:
        raise EnvironmentFault("disk full")

    found = overlapped([[0], [1], [4]], read, lambda _, values: values, fail, readers=1)
    start = time.monotonic()
    with pytest.raises(EnvironmentFault):
        next(found)
    assert time.monotonic() - start < 6


def test_no_more_than_asked_for_is_read_ahead_or_waits_behind() -> None:
    read, taken, written = [], [], []

    def endless() -> Any:
        for item in range(1000):
            taken.append(item)
            yield [item]

    def note(item: int, *_: Any) -> int:
        (written if _ else read).append(item)
        return item

    flow = overlapped(endless(), note, lambda _, values: values, note, ahead=3, writers=2)
    with closing(flow):
        for _ in range(5):
            next(flow)
        time.sleep(0.05)
    assert len(taken) <= 5 + 2 * 2 + 1 + 3 + 1
    assert set(written) <= set(read) <= set(taken)


def test_large_results_do_not_wait_for_the_next_chunk() -> None:
    alive, most = [], []

    def compute(items: Sequence[int], values: Sequence[int]) -> Sequence[int]:
        alive.extend(items)
        most.append(len(alive))
        return values

    def write(item: int, _: int) -> None:
        time.sleep(0.01)
        alive.remove(item)

    found = overlapped(
        chunks_of(range(6), 2), lambda i: i, compute, write, writers=1, behind=0
    )  # fmt: skip
    assert [outcome.item for outcome in found] == list(range(6))
    assert most == [2, 2, 2]


def test_what_is_being_written_is_finished_when_the_caller_stops() -> None:
    begun, ended = [], []

    def write(item: int, _: int) -> None:
        begun.append(item)
        time.sleep(0.05)
        ended.append(item)

    flow = overlapped(chunks_of(range(20), 1), lambda i: i, lambda _, v: v, write)
    with closing(flow):
        next(flow)
    assert sorted(begun) == sorted(ended)
    assert len(ended) < 20
