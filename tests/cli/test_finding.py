"""Which files are meant by names on the command line, and what their results are called."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from fcnseg.cli.finding import Photograph, find, images_in
from fcnseg.cli.inputs import output_folder, photographs
from fcnseg.errors import DataError, EnvironmentFault, UsageError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "p/b.JPG", "p/a.png", "p/note.txt", "p/sub/c.tif", "p/sub/deep/a.png", "p/.hidden/x.png",
        "p/.x.png", "p/sub/a.heatmap.png", "p/out/a.png", "p/own/d.png", "p/own/d.overlay.jpg",
        "p/own/d.jpg", "q/a.png", "q/[1].png",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path.with_suffix(".png"))
        path.with_suffix(".png").rename(path)
    return tmp_path


def named(*names: str, **how: object) -> dict[str, str]:
    return {str(p.path.as_posix()): p.name for p in find(names, **how)}  # type: ignore[arg-type]


def test_folders_are_looked_through_and_mirrored(tree: Path) -> None:
    assert named("p", out="p/out") == {
        "p/a.png": "a.png", "p/b.JPG": "b.JPG", "p/own/d.jpg": "own/d.jpg", "p/sub/c.tif":
        "sub/c.tif", "p/sub/deep/a.png": "sub/deep/a.png",
    }  # fmt: skip
    assert "p/out/a.png" in named("p")
    assert list(named("p/out", out="p/out")) == ["p/out/a.png"]
    assert list(named("p", deep=False)) == ["p/a.png", "p/b.JPG"]
    assert images_in(Path("p")) == [Path("p/a.png"), Path("p/b.JPG")]
    assert find(["p/sub"])[1].stem == "deep/a"


def test_a_link_to_a_folder_above_does_not_loop(tree: Path) -> None:
    try:
        (tree / "q/up").symlink_to(tree, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert list(named("q")) == ["q/[1].png", "q/a.png"]


def test_patterns_mirror_what_follows_their_fixed_part(tree: Path) -> None:
    assert named("p/**/a.png", "q/*.png") == {
        "p/a.png": "a.png", "p/out/a.png": "out/a.png", "p/sub/deep/a.png": "sub/deep/a.png",
        "q/[1].png": "[1].png", "q/a.png": "a.png",
    }  # fmt: skip
    assert named("q/[1].png") == {"q/[1].png": "[1].png"}  # a file that is called so comes first
    assert "p/own/d.png" not in named("p/**/*")
    assert named(str(tree / "p/*/c.t?f")) == {(tree / "p/sub/c.tif").as_posix(): "sub/c.tif"}


def test_patterns_follow_the_rule_of_folders(tree: Path) -> None:
    assert named("p/**/*", out="p/out") == named("p", out="p/out")
    assert named("p/**", out="p/out") == named("p", out="p/out")
    assert named("p/*/**/*.png", out="p/out") == {"p/sub/deep/a.png": "sub/deep/a.png"}
    assert named("p/o*/*.png", out="p/other") == {"p/out/a.png": "out/a.png"}
    assert list(named("p/out/*.png", out="p/out")) == ["p/out/a.png"]
    assert named("p/.h*/x.png") == {"p/.hidden/x.png": ".hidden/x.png"}
    with pytest.raises(DataError, match="no image matches it"):
        named("p/*/x.png")
    try:
        for name in ("p/sub/up", "p/other"):
            (tree / name).symlink_to(tree / "p", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert named("p/**/*", out="p/out") == named("p", out="p/out")
    assert list(named("p/*/a.png")) == ["p/out/a.png"]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lists_mirror_the_folder_that_their_files_share(
    tree: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    lines = ends.join(["p/sub/c.tif", "", str(tree / "p/a.png"), "p/gone.png", "p/sub/deep"])
    expected = {
        "p/sub/c.tif": "sub/c.tif", (tree / "p/a.png").as_posix(): "a.png",
        "p/gone.png": "gone.png", "p/sub/deep/a.png": "sub/deep/a.png",
    }  # fmt: skip
    Path("list.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode() + ends.encode())
    assert named("@list.txt") == expected
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert named("-") == expected
    Path("one.txt").write_text("p/sub/c.tif")
    assert named("@one.txt") == {"p/sub/c.tif": "c.tif"}
    Image.new("RGB", (4, 4)).save("@x.png")
    assert named("@x.png") == {"@x.png": "@x.png"}


def test_each_file_is_taken_once(tree: Path) -> None:
    assert list(named("q/a.png", "./q/a.png", "q")) == ["q/a.png", "q/[1].png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"none: no such file or folder$"),
        ("none*.jpg", r"none\*\.jpg: no such file or folder, and no image matches it"),
        ("@none.txt", r"@none\.txt: the list none\.txt cannot be read \(.*\); expected a text"),
        ("@q/a.png", r"q/a\.png: is no text; expected a path a line"),
        ("@empty.txt", r"empty\.txt: names no photographs; expected a path a line"),
        ("p/.hidden/../empty", r"empty: no images in this folder \(\.jpg"),
    ],
)
def test_names_of_nothing(tree: Path, name: str, message: str) -> None:
    (tree / "empty.txt").write_text("\n  \n")
    (tree / "p/empty").mkdir()
    with pytest.raises(DataError, match=message):
        find([name])


def test_results_of_one_name_are_refused(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"p/a\.png: their results would have one name"):
        photographs(["p/a.png", "q/a.png"])
    assert len(photographs(["p/sub"])) == 2
    for other in ("q/E\u0301.PNG", "q/\u00e9.jpg"):  # one letter or two, small or capital
        Path(other).touch()
    with pytest.raises(UsageError, match="their results would have one name"):
        photographs(["q/E\u0301.PNG", "q/\u00e9.jpg"])
    (tree / "p/sub/c.png").write_bytes((tree / "p/a.png").read_bytes())
    with pytest.raises(UsageError, match=r"their results would have one name; rename one"):
        photographs(["p/sub"])


def test_the_folder_of_results_mirrors_and_replaces_no_photograph(tree: Path) -> None:
    found = photographs(["p/sub"])
    assert output_folder("results", found, [".png"]) == Path("results")
    assert Path("results/deep").is_dir()
    with pytest.raises(UsageError, match=r"deep/a\.png is one of the photographs and would be"):
        output_folder("p/sub", found, [".png"])
    with pytest.raises(UsageError, match=r"deep/A\.png is one of the photographs and would be"):
        output_folder("p/sub", [Photograph(Path("p/sub/deep/a.png"), "deep/A.jpg")], [".png"])
    with pytest.raises(UsageError, match="is one of the photographs"):
        output_folder(os.path.join("q", "..", "p", "sub"), found, [".png"])
    Path("list").write_text("")
    with pytest.raises(EnvironmentFault, match=r"--out list: the folder cannot be made"):
        output_folder("list", found, [".png"])
