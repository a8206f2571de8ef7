"""Names and colours of classes, from the command line and from files."""

from pathlib import Path

import pytest

from fcnseg.class_list import inline, read_classes, read_void
from fcnseg.errors import UsageError


def test_names() -> None:
    assert read_classes("sky, road ,big car") == (("sky", "road", "big car"), None)


def test_a_list_longer_than_a_file_name_may_be() -> None:
    names = tuple(f"a long name of a class {i}" for i in range(200))
    assert read_classes(",".join(names)) == (names, None)
    assert inline(",".join(names)) == ",".join(names)


def test_names_with_colours() -> None:
    assert read_classes("sky=#8080ff, big car = #00FF01") == (
        ("sky", "big car"),
        ((128, 128, 255), (0, 255, 1)),
    )


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\ufeff# names\nsky\n\n big car \n", encoding="utf-8")
    assert read_classes(str(file)) == (("sky", "big car"), None)
    file.write_text("sky 1 2 3\nbig car 4,5, 6\n")
    assert read_classes(str(file)) == (("sky", "big car"), ((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize("text", ["sky\nbig car\n", "sky 1 2 3\nbig car 255 0 16\n"])
def test_a_file_can_be_left_behind(tmp_path: Path, text: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(text)
    found = inline(str(file))
    assert found is not None
    assert read_classes(found) == read_classes(str(file))
    assert inline("a,b") == "a,b"
    assert inline(None) is None
    file.write_text("one, two\nthree\n")
    assert inline(str(file)) == str(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing.txt", "--classes nothing.txt: no such file, and not a list a,b,c"),
        ("a=#000000,b", "--classes: 'b' has no colour and others have; write each as name=#rrggbb"),
        ("a=#00000,b=#000000", "--classes: 'a=#00000' has no colour"),
    ],
)
def test_wrong_lists(text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        read_classes(text)


def test_wrong_files(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("sky 1 2 3\nroad\n")
    with pytest.raises(UsageError, match=r"classes\.txt: some lines have a colour and some"):
        read_classes(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"classes\.txt: is no UTF-8 text"):
        read_classes(str(file))


def test_what_means_void() -> None:
    assert (read_void(None), read_void("11"), read_void("#ff0a00")) == (None, 11, (255, 10, 0))
    for text in ("white", "#fff", "-1", "99999999"):
        with pytest.raises(UsageError, match=f"--mask-void {text}: expected a value such as 11"):
            read_void(text)
