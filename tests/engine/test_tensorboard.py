"""Events for TensorBoard: what is written, at which step, and what happens without the package."""

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fcnseg.engine import events as told
from fcnseg.engine import tensorboard
from fcnseg.engine.events import Evaluated, Event, Notice, Stepped
from fcnseg.engine.tensorboard import TensorBoard, with_tensorboard
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.metrics import Scores

SCORES = Scores(0.9, 0.8, 0.7, 0.6, (0.5, None))


class Writer:
    """Stands in for the writer of TensorBoard."""

    made: ClassVar[list["Writer"]] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.purge_step, self.rows, self.flushed, self.closed = purge_step, [], 0, False
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.append((name, value, step))

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    monkeypatch.setattr(tensorboard, "writer_class", lambda: Writer)
    monkeypatch.setattr(Writer, "made", [])
    return Writer.made


def stepped(step: int) -> Stepped:
    return Stepped(1, step, 9, 1 / step, 1e-3, 2.0, 3.0)


def test_events_become_scalars_by_step(tmp_path: Path, written: list[Writer]) -> None:
    heard: list[Event] = []
    events = [
        stepped(4),
        stepped(5),
        Notice("saved"),
        Evaluated(1, 2, 0.3, SCORES, ("car", "a/b"), True),
        told.Tested(1, 2, 0.3, 0.4, 0.75, 1.0, {"cat": 0.5, "dog": None}, True),
    ]
    with with_tensorboard(tmp_path, 5, heard.append) as observer:
        for event in events:
            observer(event)
    assert heard == events
    (writer,) = written
    assert (writer.purge_step, writer.closed, writer.flushed) == (4, True, 2)
    rows: dict[Any, Any] = {(name, step): value for name, value, step in writer.rows}
    assert rows["training/loss", 4] == 0.25
    assert rows["training/learning rate", 5] == 1e-3
    assert rows["validation/mean IU", 5] == 0.7
    assert rows["class IU/car", 5] == 0.5
    assert rows["test/accuracy", 5] == 0.75
    assert rows["class accuracy/cat", 5] == 0.5
    assert not any("a/b" in name or "dog" in name for name, _, _ in writer.rows)


def test_an_evaluation_without_steps_knows_its_step(tmp_path: Path, written: list[Writer]) -> None:
    with TensorBoard(tmp_path, 40) as board:
        board(Evaluated(3, 9, 0.3, SCORES, ("car", "bus"), False))
    assert {step for _, _, step in written[0].rows} == {120}


def test_nothing_is_made_without_events(tmp_path: Path, written: list[Writer]) -> None:
    with TensorBoard(tmp_path / "board", 40):
        pass
    assert written == []


def test_a_missing_package_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"--tensorboard: needs .* pip install 'fcnseg\[log\]'"):
        TensorBoard(tmp_path, 40)


def test_a_full_disk_is_an_environment_fault(
    tmp_path: Path, written: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "add_scalar", full)
    with (
        pytest.raises(EnvironmentFault, match=r"No space left.*leave out --tensorboard"),
        TensorBoard(tmp_path, 40) as board,
    ):
        board(stepped(1))


def test_the_package_reads_one_curve_after_a_resume(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first, last in ((1, 5), (4, 8)):
        with TensorBoard(tmp_path, 40) as board:
            for step in range(first, last + 1):
                board(stepped(step))
    events = reader.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("training/loss")] == list(range(1, 9))
