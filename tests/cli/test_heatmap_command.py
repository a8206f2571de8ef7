"""What ``fcnseg heatmap`` writes besides the picture of probabilities."""

from pathlib import Path

import numpy as np
import pytest
from networks import sky_cat_tree
from PIL import Image

from fcnseg.cli import main
from fcnseg.engine.checkpoint import save_model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a photograph, and one in a folder below."""
    y, x = np.mgrid[:90, :120]
    waves = [127 + 100 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    picture = Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))
    (tmp_path / "photos/sub").mkdir(parents=True)
    picture.save(tmp_path / "photos/a.png")
    picture.rotate(180).save(tmp_path / "photos/sub/b.png")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_model(path, sky_cat_tree())
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_contact_sheet_of_raw_scores_with_a_page(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["heatmap", str(photos), "--checkpoint", str(checkpoint), "--out", str(out)]
    assert main([*words, "--classes", "all", "--raw", "--uncertainty", "margin", "--html"]) == 0
    endings = (".heatmap.html", ".heatmap.png", ".npz")
    assert files_in(out) == [stem + ending for stem in ("a", "sub/b") for ending in endings]
    printed = capsys.readouterr().out
    assert f"wrote {out / 'sub' / 'b.heatmap.html'}" in printed
    assert all(name in printed for name in ("sky", "cat", "tree"))
    raw = (out / "a.heatmap.png").read_bytes()
    assert main([*words, "--classes", "all"]) == 0
    assert (out / "a.heatmap.png").read_bytes() != raw


def test_a_figure_for_a_paper(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    words = ["heatmap", str(photos / "a.png"), "--checkpoint", str(checkpoint), "--top", "1"]
    written = []
    for turn in ("1", "2"):
        assert main([*words, "--format", "svg", "--out", str(tmp_path / turn)]) == 0
        assert files_in(tmp_path / turn) == ["a.heatmap.svg", "a.npz"]
        written.append((tmp_path / turn / "a.heatmap.svg").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "all"], "--classes all: the network has 1000 classes"),
        (["--format", "eps"], "--format"),
        (["--uncertainty", "entropie"], "--uncertainty"),
        (["--size", "²²²"], "error: --size ²²²: expected a number of pixels from 32 up, or native"),
        (["--size", "9" * 5000], "error: --size 999"),
        (["--stride", "7"], "--stride: expected an output stride that the network has"),
    ],
)
def test_refusals(
    photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_in(photos)
    assert main(["heatmap", str(photos), "--out", str(photos), *words]) == 2
    assert message in capsys.readouterr().err
    assert files_in(photos) == before
