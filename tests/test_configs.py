"""Every file in configs/ is read, checked and names the command that uses it."""

from dataclasses import fields
from pathlib import Path

import pytest

from fcnseg.config import DataConfig, TrainConfig, load_config

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file())


def test_the_count_of_files_is_known() -> None:
    assert len(FILES) == 4
    assert {path.suffix for path in FILES} == {".yaml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_valid_complete_and_says_how_it_is_used(path: Path) -> None:
    import yaml

    config = load_config(TrainConfig, path, {})
    assert path.name.startswith(f"{config.data}_fcn{config.variant}_{config.backbone}")

    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# fcnseg train --config configs/{path.relative_to(ROOT)}")

    network_and_training = {item.name for item in fields(TrainConfig)} - {
        *(item.name for item in fields(DataConfig)),
        *("init_from", "resume", "overwrite"),
    }
    written = set(yaml.safe_load(path.read_text()))
    assert network_and_training - written == set(), "settings left to defaults"
