"""The page of a data check: whole, closed, escaped, small, and with the numbers it was given."""

import base64
import hashlib
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pages import check_self_contained

from fcnseg.palette import voc_palette
from fcnseg.render.check_classes import class_table, percent
from fcnseg.render.check_facts import Checked, Kind, Picture, Split
from fcnseg.render.check_findings import findings, shortened
from fcnseg.render.check_page import check_page
from fcnseg.render.check_sizes import sizes

TRAIN = Split(
    name="town/train", images=10, readable=8, errors=2, warnings=1,
    class_pixels=(60_000, 30_000, 100, 0), class_images=(8, 6, 1, 0),
    class_weights=(0.31, 0.72, 4.56, 1.0), void_pixels=9_900,
    sizes={(100, 125): 7, (50, 250): 1}, masks="8 palette masks: indices are class ids",
    bounds={32: 0.613, 16: 0.777, 8: 0.901},
)  # fmt: skip
VAL = replace(
    TRAIN, name="town/val", images=2, readable=2, errors=0, warnings=0,
    class_pixels=(10_000, 14_000, 1_000, 0), class_images=(2, 2, 1, 0), void_pixels=0,
    sizes={(100, 125): 2}, bounds={32: 0.5, 16: 0.6, 8: 0.7},
)  # fmt: skip
KINDS = (
    Kind("error", "town/train", (("a.png", "pixel value 9"), ("b.png", "pixel value 8"))),
    Kind("warning", "more than one split", (("c.jpg", "is the same image as 'd'"),)),
)


def picture(**change: Any) -> Picture:
    values = {
        "id": "street/7", "split": "town/train", "size": "100\u00d7125", "reason": "pixel value 9",
        "severity": "error", "thumbnail": np.full((40, 60, 3), 90, np.uint8),
        "contents": (("road", 0.75), ("void", 0.25)),
    }  # fmt: skip
    return Picture(**{**values, **change})


def checked(**change: Any) -> Checked:
    values = {
        "name": "town", "classes": ("road", "car", "kerb", "boat"), "palette": voc_palette(4),
        "splits": (TRAIN, VAL), "kinds": KINDS, "pictures": (picture(),),
        "command": "fcnseg train --data folder",
    }  # fmt: skip
    return Checked(**{**values, **change})


def test_the_page_is_complete_in_itself() -> None:
    page = check_page(checked())
    found = check_self_contained(page)
    assert page.startswith("<!doctype html>")
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert {a.get("id") for a in found.named("section")} == {
        "findings", "classes", "sizes", "splits", "bounds", "gallery",
    }  # fmt: skip
    assert all("alt" in attributes for attributes in found.named("img"))


def test_only_the_script_of_the_page_may_run() -> None:
    page = check_page(checked())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_the_summary() -> None:
    text = check_self_contained(check_page(checked())).text
    assert "Not ready to train : 2 errors, 1 warning to look at." in text
    assert "8 of 10 can be used" in text
    assert "3 of them occur" in text
    assert "fcnseg train --data folder" in text
    doubtful = check_self_contained(check_page(checked(kinds=KINDS[1:]))).text
    assert "Ready to train : no errors, 1 warning to look at." in doubtful
    fine = check_self_contained(check_page(checked(kinds=()))).text
    assert "Ready to train : no errors, no warnings." in fine
    assert "Nothing was found to be wrong" in fine


def test_the_numbers_of_classes() -> None:
    text = check_self_contained(check_page(checked())).text
    # Shares of all pixels, void among them, in training and validation; images; weight.
    assert "0 road 60.0 40.0 8 2 0.31" in text
    assert "1 car 30.0 56.0 6 2 0.72" in text
    assert "2 kerb 0.10 4.00 1 1 4.56" in text
    assert "3 boat 0 0 0 0 1" in text
    assert "void, not scored 9.90 0" in text
    assert "FCN-32s 1/32 61.3 50.0 FCN-16s 1/16 77.7 60.0 FCN-8s 1/8 90.1 70.0" in text
    assert "indices are class ids" in text
    assert [percent(s) for s in (0, 1e-5, 0.00012, 0.05, 0.123)] == [
        "0", "&lt;0.01", "0.01", "5.00", "12.3",
    ]  # fmt: skip


def marks(page: str) -> list[list[float]]:
    """The places in percent of the marks in each row."""
    rows = re.findall(r'<td class="track">(.*?)</td>', page)
    return [
        [float(x) for x in re.findall(r'<span class="mark \w+" style="left:([\d.]+)%', row)]
        for row in rows
    ]


def test_shares_are_drawn_on_the_axis_that_is_named() -> None:
    table = class_table(checked())
    assert "The axis is logarithmic" in table
    ticks = [float(t) for t in re.findall(r">([\d.]+)&thinsp;%</b>", table)]
    assert sorted(ticks) == [0.1, 1, 10, 100]

    def place(share: float) -> float:
        return 100 * (math.log10(share) + 3) / 3

    found = marks(table)
    expected = [[0.6, 0.4], [0.3, 0.56], [0.001, 0.04], [], [0.099]]
    assert [len(row) for row in found] == [2, 2, 2, 0, 1]
    for row, shares in zip(found, expected, strict=True):
        assert row == pytest.approx([place(share) for share in shares], abs=0.02)

    even = replace(TRAIN, class_pixels=(40_000, 30_000, 20_000, 0), void_pixels=10_000)
    linear = class_table(checked(splits=(even,)))
    assert "The axis is linear" in linear
    assert marks(linear) == [[100.0], [75.0], [50.0], [], [25.0]]


def test_sizes_are_drawn_to_scale_with_areas_by_count() -> None:
    drawn = sizes((TRAIN, VAL))
    assert drawn.count("<svg") == 2
    first = drawn.partition("</svg>")[0]
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"><title>([^<]+)', first)
    found = {title: tuple(map(float, numbers)) for *numbers, title in circles}
    many, one = found["100\u00d7125: 7 images"], found["50\u00d7250: 1 image"]
    assert many[2] ** 2 / one[2] ** 2 == pytest.approx(7, rel=0.05)
    ticks = dict(re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d+)<', first))
    at = {int(pixels): float(x) for x, pixels in ticks.items()}
    step = (at[200] - at[100]) / 100
    assert many[0] == pytest.approx(at[100] + 25 * step, abs=0.2)
    assert one[0] == pytest.approx(at[200] + 50 * step, abs=0.2)
    assert one[1] > many[1]  # lower in the drawing, as its height is less
    assert "All 4 images are 100\u00d7125 pixels" in sizes((VAL, VAL))
    assert "logarithmic" in sizes((replace(VAL, sizes={(30, 40): 1, (3000, 4000): 1}),))
    assert "No image" in sizes((replace(VAL, sizes={}),))


def test_many_sizes_stay_a_small_drawing() -> None:
    many = {(h, w): 1 for h in range(100, 400) for w in range(100, 130)}
    drawn = sizes((replace(TRAIN, sizes=many),))
    counts = [int(n.replace("\u2009", "")) for n in re.findall(r": ([\d\u2009]+) images?<", drawn)]
    assert sum(counts) == 9000
    assert len(drawn) < 400_000
    assert drawn.count("<tr>") == 41


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</code></td>"


def test_names_are_escaped() -> None:
    page = check_page(
        checked(
            name=EVIL,
            command=EVIL,
            classes=(EVIL, "b", "c", "d"),
            splits=(replace(TRAIN, name=EVIL, masks=EVIL), VAL),
            kinds=(Kind("error", EVIL, ((EVIL, EVIL), (EVIL, EVIL))),),
            pictures=(picture(id=EVIL, split=EVIL, reason=EVIL, contents=((EVIL, 1.0),)),),
        )
    )
    found = check_self_contained(page)
    assert len(found.named("script")) == 1
    assert len(found.named("img")) == 1
    assert found.text.count("alert(1)") > 10


def test_findings_are_grouped_and_closed() -> None:
    page = check_page(checked())
    found = check_self_contained(page)
    boxes = [a for a in found.named("details") if a.get("class") == "kind"]
    assert [a["data-severity"] for a in boxes] == ["error", "warning"]
    assert not any("open" in a for a in boxes)
    assert "error 2 in town/train pixel value 9 (and 1 more like it)" in found.text
    assert "a.png pixel value 9 b.png pixel value 8" in found.text
    assert {"find", "level"} <= {
        a.get("id") for a in [*found.named("input"), *found.named("select")]
    }


@pytest.mark.parametrize("length", [40, 3000])
def test_thousands_of_findings_stay_small_and_say_what_is_left_out(length: int) -> None:
    file = "f" * length
    kinds = [
        Kind("error", "all", tuple((f"{file}{i}.png", f"value {i}: {file}") for i in range(n)))
        for n in (20_000, 3, 700)
    ]
    text = findings(kinds)
    assert len(text) < 1_600_000
    rows = [box.count("<tr><td") for box in text.split("</details>")[:3]]
    assert rows[1] == 3
    left_out = re.findall(r"([\d\u2009]+) more are left out here", text)
    assert [int(n.replace("\u2009", "")) for n in left_out] == [
        n - rows[i] for i, n in ((0, 20_000), (2, 700)) if rows[i] < n
    ]
    assert "--json" in text
    many_kinds = findings([Kind("error", "all", (("a", f"kind {i}"),)) for i in range(1000)])
    assert many_kinds.count("<details") == 300
    assert "700 more findings of 700 other kinds" in many_kinds


def test_the_page_stays_below_six_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    kinds = (Kind("error", "all", (("f" * 200, "m" * 600),) * 30_000),)
    page = check_page(checked(kinds=kinds, pictures=(picture(thumbnail=noise),) * 24))
    assert len(page.encode()) < 6_000_000


def test_the_gallery_says_why() -> None:
    pictures = (
        picture(),
        picture(id="b", severity="", reason="much void: 61 % of its pixels"),
        picture(id="c", contents=tuple((f"class{i}", 0.1) for i in range(10))),
    )
    text = check_self_contained(check_page(checked(pictures=pictures))).text
    assert "street/7 town/train, 100\u00d7125 error pixel value 9 road 75.0 %, void 25.0" in text
    assert "much void: 61 % of its pixels" in text
    assert "class5 10.0 % and 4 more" in text
    assert "There is nothing to show" in check_page(checked(pictures=()))


def test_a_set_that_could_not_be_opened() -> None:
    nothing = Split("coco/train", 0, 0, 1, 0)
    page = check_page(checked(classes=(), palette=(), splits=(nothing,), pictures=()))
    text = check_self_contained(page).text
    assert "Class pixels were not counted" in text
    assert "Not measured" in text
    assert "No image could be read" in text


def test_texts_are_shortened_in_the_middle() -> None:
    assert shortened("a\n b", 10) == "a  b"
    assert shortened("x" * 50 + "yz", 13) == "xxxxxxxx…xxyz"
    assert len(shortened("ab" * 500, 100)) == 100
