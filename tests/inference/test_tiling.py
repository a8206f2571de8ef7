"""Tiles against the whole image."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from segmentation import photo

import fcnseg
from fcnseg.data.rasters import ArrayRaster
from fcnseg.errors import UsageError
from fcnseg.inference.memory import free_bytes
from fcnseg.inference.reach import reach
from fcnseg.inference.tiling import Tiling, bands_of
from fcnseg.inference.views import Views


def network(name: str, variant: str, classes: int = 5) -> fcnseg.FCN:
    """Random weights, score layers too; Lite0's own, which come with pip."""
    torch.manual_seed(0)
    weights = "auto" if name == "efficientnet_lite0" else "none"
    model = fcnseg.build_fcn(name, variant, classes, weights=weights)
    with torch.no_grad():
        for layer in model.head.score.values():
            layer.weight.normal_(0, 0.1)
    return model.eval()


@pytest.mark.parametrize(
    ("size", "overlap", "margin", "grid"),
    [
        (64, 0, 0, 1),
        (64, 16, 0, 8),
        (64, 16, 100, 8),
        (70, 20, 5, 8),
        (96, 64, 16, 32),
        (128, 96, 4, 32),
        (64, 1, 0, 1),
    ],
)
def test_weights_of_a_pixel_sum_to_one(size: int, overlap: int, margin: int, grid: int) -> None:
    tiling = Tiling(size, overlap, margin, grid)
    for extent in (1, 63, 64, 65, 97, 200, 511, 1000):
        spans = tiling.spans(extent)
        total = np.zeros(extent)
        for span in spans:
            assert span.start % grid == 0
            assert span.stop - span.start <= size
            assert len(span.weight) == span.stop - span.start
            assert span.weight.min() >= 0
            total[span.start : span.stop] += span.weight
        assert np.abs(total - 1).max() < 1e-6
        assert (spans[0].start, spans[-1].stop) == (0, extent)


@pytest.mark.parametrize("overlap", [96, 128, 160])
def test_no_weight_within_the_margin_where_the_overlap_allows(overlap: int) -> None:
    spans = Tiling(320, overlap, 48, 32).spans(1500)
    for first, second in pairwise(spans):
        assert first.stop - second.start >= overlap
        assert not first.weight[-48:].any()
        assert not second.weight[:48].any()


def test_refusals() -> None:
    with pytest.raises(UsageError, match=r"--tile 100: with an overlap of 90 .* expected 128"):
        Tiling(100, 90, 0, 32)
    with pytest.raises(UsageError, match="--overlap: expected 0 pixels or more, got -1"):
        Tiling(100, -1)


def test_bands_are_the_weighted_sum_of_all_tiles() -> None:
    """Against a plain sum over whole-image arrays, of a score that differs from tile to tile."""
    image = np.random.default_rng(0).integers(0, 256, (203, 157, 3), dtype=np.uint8)
    calls = 0

    def score(pixels: np.ndarray) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.from_numpy(np.moveaxis(pixels, 2, 0) * np.float32(calls))

    tiling = Tiling(64, 24, 4, 8)
    bands = list(bands_of(ArrayRaster(image), tiling, score, scores=True))
    expected, number = np.zeros((3, 203, 157)), 0
    for row in tiling.spans(203):
        for column in tiling.spans(157):
            number += 1
            part = np.s_[row.start : row.stop, column.start : column.stop]
            weight = row.weight[:, None] * column.weight
            expected[:, part[0], part[1]] += (
                np.moveaxis(image[part] * weight[..., None], 2, 0) * number
            )
    found = np.concatenate([band.scores for band in bands if band.scores is not None], 1)
    assert np.allclose(found, expected, rtol=1e-5)
    assert np.array_equal(np.concatenate([band.labels for band in bands]), found.argmax(0))
    tops = [band.top for band in bands]
    assert tops == [0, *np.cumsum([len(band.labels) for band in bands])[:-1]]
    assert len(bands) == len(tiling.spans(203))


def test_scores_of_the_whole_image_are_never_held() -> None:
    """A tall image of 64 classes: what is held grows with the tile, not with the image."""
    image = np.zeros((6000, 200, 3), np.uint8)

    def score(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ones((64, *pixels.shape[:2]), np.float32))

    tracemalloc.start()
    rows = sum(len(b.labels) for b in bands_of(ArrayRaster(image), Tiling(128, 32, 8, 8), score))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 6000
    assert peak < 64 * 6000 * 200 * 4 / 10


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("resnet18", "8s"),
        ("efficientnet_lite0", "16s"),
        ("alexnet", "32s"),
    ],
)
def test_scores_depend_on_nothing_beyond_the_reach(name: str, variant: str) -> None:
    """A pixel is changed: no score further away than the reach may move."""
    model = network(name, variant, 2)
    found = reach(model)
    assert found is not None
    assert not found.sees_all
    side = -(-(2 * found.pixels + 200) // 32) * 32
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    changed, at = pixels.clone(), side // 2
    changed[:, :, at, at] += 1000
    with torch.inference_mode():
        moved = (model(changed) - model(pixels)).abs().amax((0, 1)).numpy() > 0
    rows, columns = np.nonzero(moved)
    furthest = max(abs(rows - at).max(), abs(columns - at).max())
    assert found.pixels / 2 < furthest <= found.pixels


def compared(name: str, variant: str, size: tuple[int, int], tile: int) -> None:
    image, model = photo(*size), network(name, variant)
    whole = fcnseg.Predictor(model, device="cpu")(image)
    predictor = fcnseg.Predictor(model, device="cpu", tile=tile, overlap="full")
    tiled = predictor(image)
    assert whole.scores is not None
    assert tiled.scores is not None
    assert max(size) > tile
    assert np.abs(tiled.scores - whole.scores).max() < 1e-4
    assert (tiled.labels == whole.labels).mean() >= 0.999


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("resnet18", (211, 100)),
        ("efficientnet_lite0", (100, None)),
        ("efficientnet_lite0", (None, 100)),
    ],
)
def test_tiles_that_overlap_by_the_reach_give_the_whole(
    name: str, more: tuple[int | None, int | None]
) -> None:
    """In both directions at once, or along one side of a strip, which takes less time."""
    found = reach(network(name, "8s"))
    assert found is not None
    side = -(-2 * found.pixels // 32) * 32 + 128
    height, width = (150 if extra is None else side + extra for extra in more)
    compared(name, "8s", (height, width), side)


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "paper"])
def test_tiles_of_vgg16_give_the_whole(padding: str) -> None:
    torch.manual_seed(0)
    model = fcnseg.build_fcn("vgg16", "8s", 5, padding=padding)
    with torch.no_grad():
        for layer in model.head.score.values():
            layer.weight.normal_(0, 0.1)
    image = photo(900, 800)
    whole = fcnseg.Predictor(model, device="cpu")(image)
    tiled = fcnseg.Predictor(model, device="cpu", tile=672, overlap="full")(image)
    assert whole.scores is not None
    assert tiled.scores is not None
    assert np.abs(tiled.scores - whole.scores).max() < 1e-4 * np.abs(whole.scores).max()
    assert (tiled.labels == whole.labels).mean() >= 0.999


def test_the_usual_overlap_is_half_and_tiles_are_like_images() -> None:
    model, image = network("efficientnet_lite0", "32s"), photo(300, 500)
    predictor = fcnseg.Predictor(model, device="cpu", tile=256)
    tiles = fcnseg.Predictor(model, device="cpu", tile=256, overlap=128)
    assert np.array_equal(predictor(image).scores, tiles(image).scores)
    plain = fcnseg.Predictor(model, device="cpu")
    assert np.array_equal(predictor(image[:256, :256]).scores, plain(image[:256, :256]).scores)


def test_tiles_that_the_model_has_no_use_for() -> None:
    model = network("resnet18", "32s", 2)
    with pytest.raises(UsageError, match=r"--overlap 32: is of tiles; give --tile too"):
        fcnseg.Predictor(model, device="cpu", overlap=32)
    with pytest.raises(UsageError, match=r"--tile 320: with an overlap of 5\d\d pixels"):
        fcnseg.Predictor(model, device="cpu", tile=320, overlap="full")
    with pytest.raises(UsageError, match=r"--tile 330: expected a multiple of 32, .* 320 or 352"):
        fcnseg.Predictor(model, device="cpu", tile=330)
    with pytest.raises(UsageError, match=r"--tile 320: .* of 128, .* in every view, .* 256 or 384"):
        fcnseg.Predictor(model, device="cpu", tile=320, views=Views((0.75, 1.0)))
    with pytest.raises(UsageError, match=r"--tile large: expected a number of pixels or auto"):
        fcnseg.Predictor(model, device="cpu", tile="large")
    model.head = torch.nn.Identity()
    with pytest.raises(UsageError, match=r"--overlap full: nothing is known of how far"):
        fcnseg.Predictor(model, device="cpu", tile=320, overlap="full")
    with pytest.raises(UsageError, match=r"--overlap most: expected a number of pixels or full"):
        fcnseg.Predictor(model, device="cpu", tile=320, overlap="most")


def test_auto_takes_what_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = network("resnet18", "32s", 2), photo(200, 300)
    predictor = fcnseg.Predictor(model, device="cpu", tile="auto", overlap=32)
    whole = fcnseg.Predictor(model, device="cpu")(image)
    assert np.array_equal(predictor(image).scores, whole.scores)
    sides = []
    for free in (1 << 26, 1 << 27, 1 << 28):
        monkeypatch.setattr("fcnseg.inference.memory.free_bytes", lambda _, free=free: free)
        sides.append(fcnseg.Predictor(model, device="cpu", tile="auto", overlap=32).tile)
    assert sides[0] <= sides[1] <= sides[2] == 2 * sides[0]
    assert all(side % 32 == 0 for side in sides)
    enlarged = fcnseg.Predictor(
        model, device="cpu", tile="auto", overlap=32, views=Views((1.0, 4.0))
    )
    assert enlarged.tile <= sides[2] // 4
    monkeypatch.setattr("fcnseg.inference.memory.free_bytes", lambda _: 1 << 16)
    with pytest.raises(fcnseg.errors.EnvironmentFault, match=r"--tile auto: 0\.0 GB .* are free"):
        fcnseg.Predictor(model, device="cpu", tile="auto")


@pytest.mark.parametrize(
    ("views", "furthest", "same"),
    [(Views(flip=True), 1e-3, 1), (Views((0.75, 1.0), flip=True), 1e-2, 0.999)],
)
def test_views_of_tiles_are_those_of_the_image(views: Views, furthest: float, same: float) -> None:
    """At a width that is no multiple of the stride, so that mirroring moves the cells."""
    model = network("alexnet", "32s")
    image = photo(100, 1103)
    whole = fcnseg.Predictor(model, device="cpu", views=views)(image)
    tiles = fcnseg.Predictor(model, device="cpu", tile=896, overlap="full", views=views)
    tiled = tiles(image)
    assert whole.scores is not None
    assert tiled.scores is not None
    assert np.abs(tiled.scores - whole.scores).max() < furthest
    assert (tiled.labels == whole.labels).mean() >= same


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux says what is free")
def test_memory_that_a_container_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = free_bytes(torch.device("cpu"))
    monkeypatch.setattr("fcnseg.inference.memory.Path", lambda _: tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_bytes(torch.device("cpu")) == pytest.approx(machine, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes(torch.device("cpu")) == 4000
