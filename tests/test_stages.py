"""Stages: which are trained anew, and which go on, after a training was cut off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fcnseg import stages
from fcnseg.config import TrainConfig
from fcnseg.engine.lock import locked
from fcnseg.engine.run import RunFolder
from fcnseg.errors import EnvironmentFault, UsageError


class Cut(Exception):
    """The process is gone."""


@pytest.fixture
def commands() -> list[str]:
    """What each training of a stage names for going on."""
    return []


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, commands: list[str]) -> list[TrainConfig]:
    """Trainings that leave the files of a run; the one numbered ``cut`` is cut off at its end."""
    asked: list[TrainConfig] = []

    def train(config: TrainConfig, *_: Any, resumed_by: str) -> str:
        folder = RunFolder(config.run_folder)
        folder.check(config.resume, config.overwrite)
        asked.append(config)
        commands.append(resumed_by)
        with pytest.raises(EnvironmentFault, match="is in use"), locked(folder.path.parent):
            pass
        folder.states.folder.mkdir(parents=True, exist_ok=True)
        for path in (folder.config, folder.log):
            path.write_text("x")
        state = folder.states.folder / "step-00000002.safetensors"
        state.write_text(f"seed {config.seed}")
        if config.seed == 100 + len(asked):
            raise Cut
        return config.variant

    monkeypatch.setattr(stages, "train", train)
    return asked


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(data="shapes", stages="32s,16s,8s", run=str(tmp_path / "run"))


def test_each_stage_starts_from_the_last(
    config: TrainConfig, trained: list[TrainConfig], tmp_path: Path
) -> None:
    assert stages.train_all(config) == ["32s", "16s", "8s"]
    states = [str(tmp_path / f"run/{v}/last/step-00000002.safetensors") for v in ("32s", "16s")]
    assert [one.init_from for one in trained] == [None, *states]
    assert not any(one.resume or one.overwrite for one in trained)
    with pytest.raises(UsageError, match="run: exists already; give --resume, --overwrite or"):
        stages.train_all(config)


def test_a_stage_that_the_backbone_does_not_have_is_found_before_the_first(
    config: TrainConfig, trained: list[TrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"small_cnn: has maps at stride 2, 4, 8, none at 32"):
        stages.train_all(replace(config, backbone="small_cnn"))
    assert trained == []
    assert not (tmp_path / "run").exists()


def test_resuming_goes_on_in_the_stage_that_was_cut(
    config: TrainConfig, trained: list[TrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="run: nothing to resume; start it without --resume"):
        stages.train_all(replace(config, resume=True))
    with pytest.raises(Cut):
        stages.train_all(replace(config, seed=102))
    for name in (".lock", ".config.yaml.0123456789ab.part"):  # 8s was cut off in its first moment
        (tmp_path / "run" / "8s").mkdir(exist_ok=True)
        (tmp_path / "run" / "8s" / name).touch()
    stages.train_all(replace(config, seed=102, resume=True))
    after = trained[2:]
    assert [(one.variant, one.resume) for one in after] == [
        ("32s", True),
        ("16s", True),
        ("8s", False),
    ]


def test_overwriting_does_not_go_on_in_an_old_stage(
    config: TrainConfig, trained: list[TrainConfig], tmp_path: Path
) -> None:
    stages.train_all(config)
    with pytest.raises(Cut):
        stages.train_all(replace(config, seed=104, overwrite=True))
    stages.train_all(replace(config, seed=104, resume=True))
    after = trained[4:]
    assert [(one.variant, one.resume) for one in after] == [
        ("32s", True),
        ("16s", False),
        ("8s", False),
    ]
    for variant in ("32s", "16s", "8s"):
        state = tmp_path / "run" / variant / "last/step-00000002.safetensors"
        assert state.read_text() == "seed 104"


def test_an_interrupted_stage_names_the_command_of_all(
    config: TrainConfig,
    trained: list[TrainConfig],
    commands: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages.train_all(replace(config, run=str(tmp_path / "my run")))
    assert commands == [f"fcnseg train --run '{tmp_path}/my run' --resume"] * 3
    monkeypatch.setenv("WORLD_SIZE", "2")
    stages.train_all(config)
    whole = f"torchrun --nproc-per-node 2 -m -- fcnseg train --run {tmp_path}/run --resume"
    assert commands[3:] == [whole] * 3


def test_only_the_first_stage_looks_at_the_data(
    config: TrainConfig, trained: list[TrainConfig]
) -> None:
    stages.train_all(replace(config, weights="classifier.pth"))
    seen = [(one.weights, one.check_first) for one in trained]
    assert seen == [("classifier.pth", "quick"), ("none", "none"), ("none", "none")]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"dice": 0.5}, r"run: cannot be resumed with other settings \(dice: 0.0 -> 0.5\)"),
        ({"stages": "32s,8s"}, r"other settings \(stages: 32s,16s,8s -> 32s,8s\)"),
        ({"schedule": "constant", "warmup": 0.0, "epochs": 40}, "run: .*stages cannot be lengthe"),
    ],
)
def test_other_settings_are_refused_before_any_stage(
    changed: dict[str, Any], line: str, config: TrainConfig, trained: list[TrainConfig]
) -> None:
    started = replace(config, **{k: v for k, v in changed.items() if k in ("schedule", "warmup")})
    stages.train_all(started)
    stored = config.run_folder / "config.yaml"
    before = stored.read_bytes()
    with pytest.raises(UsageError, match=line):
        stages.train_all(replace(started, resume=True, **changed))
    assert len(trained) == 3
    assert stored.read_bytes() == before
    assert not (config.run_folder / ".lock").exists()


def test_resuming_under_another_spelling_of_the_folder(
    config: TrainConfig,
    trained: list[TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Cut):
        stages.train_all(replace(config, run="run", stages="32s, 16s, 8s", seed=102))
    stages.train_all(replace(config, seed=102, resume=True))
    assert [one.resume for one in trained[2:]] == [True, True, False]
    assert trained[4].init_from == str(tmp_path / "run/16s/last/step-00000002.safetensors")
    (tmp_path / "run").rename(tmp_path / "moved")
    stages.train_all(replace(config, run="moved", seed=102, resume=True))
    assert [one.run for one in trained[5:]] == ["moved/32s", "moved/16s", "moved/8s"]
    assert trained[7].init_from == str(Path("moved/16s/last/step-00000002.safetensors"))


def test_a_folder_in_use_is_left_alone(
    config: TrainConfig, trained: list[TrainConfig], tmp_path: Path
) -> None:
    stages.train_all(config)
    with locked(tmp_path / "run"), pytest.raises(EnvironmentFault, match="run: is in use by"):
        stages.train_all(replace(config, overwrite=True))
    assert (tmp_path / "run/32s/last/step-00000002.safetensors").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: is a file; give a folder"):
        stages.train_all(replace(config, run=str(tmp_path / "file")))
    with pytest.raises(UsageError, match="new: nothing to resume"):
        stages.train_all(replace(config, run=str(tmp_path / "new"), resume=True))
    assert not (tmp_path / "new").exists()
