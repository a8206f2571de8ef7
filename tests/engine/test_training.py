"""The loop, the run folder, and resuming to the byte."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fcnseg.config import TrainConfig
from fcnseg.data.loading import Batch
from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.sample import Sample
from fcnseg.engine.continuity import data_changes, describe_data
from fcnseg.engine.events import Evaluated, Evaluating, Event, Notice, Started, Stepped
from fcnseg.engine.tensors import read_tensors
from fcnseg.errors import DataError, EnvironmentFault, NumericError, UsageError

LAST = "last/step-00000004.safetensors"

Run = Callable[..., Any]


class Ended(Exception):
    """Raised by an observer to end a run at a chosen moment."""


def stop_after(epoch: int) -> Callable[[Event], None]:
    def observer(event: Event) -> None:
        if isinstance(event, Evaluated) and event.epoch == epoch:
            raise Ended

    return observer


def stop_in_the_evaluation_of(epoch: int) -> Callable[[Event], None]:
    begun: list[Event] = []

    def observer(event: Event) -> None:
        if isinstance(event, Evaluating) and event.done == event.total:
            begun.append(event)
            if len(begun) == epoch:
                raise Ended

    return observer


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_learns_and_leaves_everything_behind(config: TrainConfig, run_training: Run) -> None:
    events: list[Event] = []
    result = run_training(replace(config, epochs=6), events.append)
    assert result.best_score > 0.6

    folder = result.folder
    assert {p.name for p in folder.iterdir()} == {
        *("config.yaml", "log.jsonl", "metrics.json", "best.safetensors", "last", "samples"),
        *("curves.png", "report.html"),
    }
    assert len(list((folder / "samples").iterdir())) == 4

    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(1, 13))  # 9 images: 4 + 4, 1 left out
    assert [row["epoch"] for row in rows if row["kind"] == "eval"] == [1, 2, 3, 4, 5, 6]

    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["class_iu"].keys() == {"dark", "bright", "red"}
    assert metrics["best"]["score"] == result.best_score
    assert metrics["mean_iu"] == result.evaluation.scores.mean_iu

    assert isinstance(events[0], Started)
    assert sum(isinstance(event, Stepped) for event in events) == 12
    assert any(isinstance(e, Notice) and "left out" in e.text for e in events)


def equal_to_the_byte(whole: Path, resumed: Path) -> None:
    one, two = contents(whole), contents(resumed)
    assert one.keys() == two.keys()
    two["config.yaml"] = two["config.yaml"].replace(
        f"run: {resumed}".encode(), f"run: {whole}".encode()
    )
    assert [name for name in one if one[name] != two[name]] == []


def resume_elsewhere(config: TrainConfig, run_training: Run) -> None:
    torch.manual_seed(12345)  # what a new process has is not what the old one had
    torch.rand(7)
    run_training(replace(config, resume=True))


@pytest.mark.parametrize("stop", [stop_after, stop_in_the_evaluation_of])
def test_two_and_two_epochs_equal_four_to_the_byte(
    config: TrainConfig,
    run_training: Run,
    tmp_path: Path,
    stop: Callable[[int], Callable[[Event], None]],
) -> None:
    config = replace(config, epochs=4)
    run_training(replace(config, run=str(tmp_path / "whole")))
    with pytest.raises(Ended):
        run_training(config, stop(2))
    resume_elsewhere(config, run_training)
    equal_to_the_byte(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_that_ends_between_its_log_and_its_state_is_finished_by_resuming(
    config: TrainConfig,
    run_training: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: int,
) -> None:
    config = replace(config, epochs=epochs)
    run_training(replace(config, run=str(tmp_path / "whole")))

    def fail(*_: Any) -> None:
        raise Ended

    with monkeypatch.context() as broken:
        broken.setattr("fcnseg.engine.segmentation.Segmentation.show", fail)
        with pytest.raises(Ended):
            run_training(config)
    resume_elsewhere(config, run_training)
    equal_to_the_byte(tmp_path / "whole", tmp_path / "run")


def test_void_validation_masks_are_named_and_cost_no_epoch(
    config: TrainConfig, run_training: Run, blocks: Callable[..., Any], tmp_path: Path
) -> None:
    class Void(type(blocks(1))):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return Sample(sample.image, np.full_like(sample.label, 255), sample.id)

    run_training(replace(config, run=str(tmp_path / "whole")))
    words = r"^blocks: nothing to score, every pixel of its 4 masks is void \(255\); correct"
    with pytest.raises(DataError, match=words):
        run_training(config, validation=Void(4, salt=1))
    resume_elsewhere(config, run_training)  # with the masks corrected
    equal_to_the_byte(tmp_path / "whole", tmp_path / "run")


def test_class_weights_reach_the_loss(
    config: TrainConfig,
    run_training: Run,
    make_net: Callable[..., Any],
    first_batch: Callable[[TrainConfig], Batch],
) -> None:
    """The first loss against the weighted mean over the pixels of the first batch, in float64."""
    seen: list[torch.Tensor] = []

    class Watched(make_net):  # type: ignore[misc, valid-type]
        def forward(self, pixels_N3HW: torch.Tensor) -> torch.Tensor:
            score = super().forward(pixels_N3HW)
            seen.append(score.detach().clone())
            return score

    torch.manual_seed(1)
    weights = [0.2, 1.0, 3.0]
    result = run_training(replace(config, epochs=1), model=Watched(), class_weights=weights)
    row = json.loads((result.folder / "log.jsonl").read_text().splitlines()[0])

    label, score = first_batch(config).labels.long(), seen[0].double()
    total = mass = 0.0
    for n, y, x in torch.nonzero(label != 255).tolist():
        truth = int(label[n, y, x])
        loss = torch.logsumexp(score[n, :, y, x], 0) - score[n, truth, y, x]
        total, mass = total + weights[truth] * float(loss), mass + weights[truth]
    assert row["loss"] == pytest.approx(total / mass, rel=1e-5)


@pytest.mark.parametrize("freeze", ["none", "backbone"])
def test_the_rate_in_the_log_is_that_of_the_backbone(
    config: TrainConfig, run_training: Run, freeze: str
) -> None:
    events: list[Event] = []
    config = replace(config, freeze=freeze, head_lr_factor=10, warmup=0)
    result = run_training(config, events.append)
    rows = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows if row["kind"] == "step"]
    assert rates == pytest.approx([config.lr * (1 - step / 4) ** 0.9 for step in range(4)])
    assert [event.lr for event in events if isinstance(event, Stepped)] == rates


def test_rows_of_an_unfinished_epoch_are_computed_again(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    def observer(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 3:
            raise Ended

    with pytest.raises(Ended):
        run_training(config, observer)
    log = tmp_path / "run" / "log.jsonl"
    with log.open("a") as file:
        file.write('{"kind": "st')  # a crash in the middle of a line
    run_training(replace(config, resume=True))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2, 3, 4]


def test_resuming_a_finished_run_scores_it_and_says_so(
    config: TrainConfig, run_training: Run
) -> None:
    first = run_training(config)
    events: list[Event] = []
    again = run_training(replace(config, resume=True), events.append)
    assert again.evaluation.scores == first.evaluation.scores
    said = [event.text for event in events if isinstance(event, Notice)]
    assert any("finished already, 2 of 2 epochs" in text for text in said)


def test_a_resumed_run_with_other_settings_is_refused(
    config: TrainConfig, run_training: Run
) -> None:
    run_training(config)
    with pytest.raises(UsageError, match=r"other settings \(.*epochs: 2 -> 3, lr: 0.01 -> 0.1\)"):
        run_training(replace(config, resume=True, epochs=3, lr=0.1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"validation": 5}, "validation images: 4 -> 5"),
        ({"class_weights": [1.0, 2.0, 3.0]}, "class weights: none -> 1,2,3"),
    ],
)
def test_a_resumed_run_with_other_data_is_refused(
    config: TrainConfig,
    run_training: Run,
    blocks: Callable[..., Any],
    change: dict[str, Any],
    expected: str,
) -> None:
    if "validation" in change:
        change = {"validation": blocks(change["validation"], salt=1)}
    with pytest.raises(Ended):
        run_training(config, stop_after(1))
    before = contents(Path(str(config.run)))
    with pytest.raises(UsageError, match=rf"data have changed \({expected}\); restore them, or"):
        run_training(replace(config, resume=True), **change)
    assert contents(Path(str(config.run))) == before


def test_changes_of_data_are_named() -> None:
    def source(name: str, classes: str, ids: str) -> Any:
        pairs = [Pair(i, Path(i), Path(i)) for i in ids]
        colours = [(i, 0, 0) for i in range(len(classes))]
        return ImagePairs(name, tuple(classes), colours, pairs, lambda pair, most: None)

    then = describe_data((source("t", "ab", "123"), source("v", "ab", "45")), [0.5, 2.0])
    assert data_changes(json.loads(json.dumps(then)), then) == []
    assert data_changes({}, then) == []  # runs of before this was recorded
    now = describe_data((source("t", "ba", "132"), source("v", "ba", "456")), None)
    assert data_changes(then, now) == [
        "classes: a,b -> b,a",
        "class weights: 0.5,2 -> none",
        "another list of training images",
        "validation images: 2 -> 3",
    ]


def test_an_existing_run_is_untouched(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    run_training(config)
    before = contents(tmp_path / "run")
    with pytest.raises(UsageError, match="exists already; give --resume"):
        run_training(config)
    assert contents(tmp_path / "run") == before


def test_overwrite_replaces_a_run_and_nothing_else(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    run_training(config)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run_training(replace(config, overwrite=True, epochs=1))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epoch"] == 1

    other = tmp_path / "photographs"
    (other / "samples").mkdir(parents=True)
    (other / "samples" / "a.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="not a run folder"):
        run_training(replace(config, overwrite=True, run=str(other)))
    assert (other / "samples" / "a.png").exists()


def test_an_overwriting_run_that_fails_early_keeps_the_old_checkpoint(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    run_training(config)
    best = tmp_path / "run" / "best.safetensors"
    before = best.read_bytes()
    with pytest.raises(NumericError):
        run_training(replace(config, overwrite=True, lr=1e30))
    assert best.read_bytes() == before
    run_training(replace(config, overwrite=True, epochs=1, seed=7))
    assert best.read_bytes() != before


def test_resume_with_nothing_there_is_refused(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        run_training(replace(config, resume=True))
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_found_before_the_first_step(
    config: TrainConfig, run_training: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    events: list[Event] = []
    with pytest.raises(EnvironmentFault, match=r"cannot be written to \(Permission denied\)"):
        run_training(config, events.append)
    assert events == []


def test_a_loss_that_is_not_finite_stops_with_the_old_checkpoint(
    config: TrainConfig, run_training: Run, tiny: torch.nn.Module, tmp_path: Path
) -> None:
    saved: dict[str, bytes] = {}

    def poison(event: Event) -> None:
        if isinstance(event, Evaluated):
            saved.update(contents(tmp_path / "run"))
            with torch.no_grad():
                tiny.head.bias.fill_(float("nan"))

    with pytest.raises(NumericError, match=r"step 3: the loss is nan at learning rate .*block-"):
        run_training(config, poison, tiny)
    after = contents(tmp_path / "run")
    assert {name: after[name] for name in saved if name != "log.jsonl"} == {
        name: content for name, content in saved.items() if name != "log.jsonl"
    }


def test_a_frozen_backbone_stays_as_it_is(
    config: TrainConfig, run_training: Run, tiny: torch.nn.Module
) -> None:
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    run_training(replace(config, freeze="backbone", weight_decay=0.1), model=tiny)
    after = tiny.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_collapsed_prediction_is_said(
    config: TrainConfig, run_training: Run, tiny: torch.nn.Module
) -> None:
    with torch.no_grad():
        tiny.head.weight.zero_()
        tiny.head.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    events: list[Event] = []
    run_training(replace(config, lr=1e-7, epochs=1), events.append, tiny)
    warnings = [e.text for e in events if isinstance(e, Notice) and e.warning]
    assert warnings
    assert "every validation pixel is predicted as 'bright'" in warnings[0]


def test_workers_do_not_change_the_result(
    config: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    run_training(config)
    run_training(replace(config, workers=1, run=str(tmp_path / "other")))
    state = [read_tensors(tmp_path / n / LAST)[1] for n in ("run", "other")]
    assert all(torch.equal(state[0][name], state[1][name]) for name in state[0])


def test_sample_panels_are_four_wide(config: TrainConfig, run_training: Run) -> None:
    from PIL import Image

    result = run_training(replace(config, epochs=1))
    for path in (result.folder / "samples").iterdir():
        panel = np.asarray(Image.open(path))
        assert panel.shape[0] >= 24
        assert panel.shape[1] >= 4 * 32
