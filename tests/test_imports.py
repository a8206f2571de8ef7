"""Published FCNs, imported, score as the network re-stated in ``published.py`` does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from networks import narrow
from published import CONVS
from torch import Tensor

import fcnseg
from fcnseg.engine.checkpoint import save_model
from fcnseg.errors import UsageError, WeightsError
from fcnseg.imports import import_fcn
from fcnseg.upsample import Upsample

SIZES = ((33, 20), (44, 61))


@pytest.fixture(autouse=True)
def narrow_fc6_and_fc7(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if "slow" not in request.keywords:
            patch.setattr("fcnseg.classifiers.build", narrow)
        yield


@pytest.fixture
def photo() -> Callable[[tuple[int, int]], np.ndarray]:
    return lambda size: np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def written(folder: Path, name: str, tensors: Any, **how: bool) -> Path:
    path = folder / name
    if name.endswith(".caffemodel"):
        path.write_bytes(published.caffemodel(tensors, **how))
    else:
        torch.save(tensors, path)
    return path


def same_tensors(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def assert_close(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert expected.std() > 1  # not degenerate
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-4
    assert torch.equal(got.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_scores_are_those_of_the_published_network(
    variant: str, tmp_path: Path, photo: Callable[..., np.ndarray]
) -> None:
    tensors = published.state(variant)
    lines: list[str] = []
    path = written(tmp_path, "fcn.pth", tensors)
    model = import_fcn("torchfcn", path, variant, report=lines.append)
    assert len(lines) == 1
    assert f"{len(tensors)} tensors of {len(tensors)} matched: 30 of VGG16" in lines[0]
    assert model.info.upsample == "fixed"
    assert model.info.padding == "paper"
    assert model.info.classes == fcnseg.data.voc.CLASSES
    assert not model.training

    save_model(tmp_path / "out.safetensors", model)
    loaded = fcnseg.load(tmp_path / "out.safetensors")
    assert loaded.info == model.info
    assert same_tensors(loaded, model)
    for size in SIZES:
        image = photo(size)
        pixels = published.preprocessed(image)
        rgb = torch.from_numpy(image).permute(2, 0, 1)[None]
        assert torch.allclose(model.info.preprocessing(rgb), pixels, atol=1e-4)
        with torch.inference_mode():
            assert_close(loaded(pixels), published.scores(tensors, variant, pixels))

    if variant == "8s-atonce":
        tensors["scale_pool4.weight"] = torch.full((512,), 0.01)
        tensors["scale_pool3.weight"] = torch.full((256,), 0.0001)
    for v1, legacy in ((True, True), (False, False)):
        path = written(tmp_path, "fcn.caffemodel", tensors, v1=v1, legacy=legacy)
        again = import_fcn("caffe", path, variant, report=lines.append)
        assert f"{len(tensors)} tensors of {len(tensors)} matched" in lines[-1]
        assert same_tensors(again, model)
        assert again.info == model.info


def altered(kind: str) -> dict[str, Tensor]:
    tensors = published.state("8s", classes=5)
    generator = torch.Generator().manual_seed(1)
    for name, k in published.KERNELS["8s"].items():
        noise = torch.rand(5, 5, k, k, generator=generator) * 0.2
        if kind == "diagonal":
            noise *= torch.eye(5)[:, :, None, None]
        elif name != "upscore_pool4":
            continue  # one dense layer makes all dense
        tensors[f"{name}.weight"] += noise
    return tensors


@pytest.mark.parametrize(("kind", "mode"), [("diagonal", "learned"), ("dense", "dense")])
def test_other_kernels_than_bilinear_are_kept_whole(kind: str, mode: str, tmp_path: Path) -> None:
    tensors = altered(kind)
    model = import_fcn("torchfcn", written(tmp_path, "a.pth", tensors), "8s")
    assert model.info.upsample == mode
    kernels = [m.weight for m in model.modules() if isinstance(m, Upsample)]
    assert {k.shape[1] for k in kernels} == ({5} if kind == "dense" else {1})
    assert all(isinstance(k, torch.nn.Parameter) for k in kernels)
    save_model(tmp_path / "out.safetensors", model)
    loaded = fcnseg.load(tmp_path / "out.safetensors")
    assert loaded.info == model.info
    assert same_tensors(loaded, model)
    pixels = torch.randn(1, 3, 40, 31, generator=torch.Generator().manual_seed(0)) * 60
    with torch.inference_mode():
        assert_close(loaded(pixels), published.scores(tensors, "8s", pixels))


def test_kernels_of_each_class_by_itself_are_taken_too(tmp_path: Path) -> None:
    """Caffe's grouped deconvolutions have the shape (K, 1, k, k)."""
    dense, grouped = altered("diagonal"), altered("diagonal")
    for name in published.KERNELS["8s"]:
        own = torch.stack([dense[f"{name}.weight"][c, c] for c in range(5)])
        grouped[f"{name}.weight"] = own[:, None]
    one = import_fcn("caffe", written(tmp_path, "1.caffemodel", dense), "8s")
    two = import_fcn("caffe", written(tmp_path, "2.caffemodel", grouped), "8s")
    assert same_tensors(one, two)


def test_fc6_and_fc7_may_be_inner_products(tmp_path: Path) -> None:
    tensors = published.state("32s", classes=3)
    expected = import_fcn("caffe", written(tmp_path, "1.caffemodel", tensors), "32s")
    for name in ("fc6.weight", "fc7.weight"):
        tensors[name] = tensors[name].flatten(1)
    path = written(tmp_path, "2.caffemodel", tensors, v1=True, legacy=True)
    assert same_tensors(import_fcn("caffe", path, "32s"), expected)
    tensors["fc6.weight"] = tensors["fc6.weight"].T.contiguous()  # as many, in another order
    path = written(tmp_path, "3.caffemodel", tensors)
    with pytest.raises(WeightsError, match=r"1 of another shape \(fc6.weight: \(25088, 32\) in"):
        import_fcn("caffe", path, "32s")


def test_classes_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.pth", published.state("32s", classes=3))
    assert import_fcn("torchfcn", path, "32s").info.classes == ("class 0", "class 1", "class 2")
    palette = ((0, 0, 9), (9, 0, 0), (1, 1, 1))
    named = import_fcn("torchfcn", path, "32s", ["sky", "tree", "road"], palette)
    assert named.info.classes == ("sky", "tree", "road")
    assert named.info.palette == palette


@pytest.mark.parametrize(
    ("classes", "match"),
    [(["a", "b"], "2 names, but .* has 3 classes"), (["a", "b", "a"], "'a' is there more than")],
)
def test_names_that_are_not_as_many_or_not_distinct(
    classes: list[str], match: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.pth", published.state("32s", classes=3))
    with pytest.raises(UsageError, match=f"--classes: {match}"):
        import_fcn("torchfcn", path, "32s", classes)


def test_unknown_sources_and_variants_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"SOURCE: expected one of torchfcn, caffe.*did you mean"):
        import_fcn("cafe", tmp_path / "a.caffemodel", "8s")
    with pytest.raises(UsageError, match="--variant: expected one of 32s"):
        import_fcn("caffe", tmp_path / "a.caffemodel", "8")


Change = Callable[[dict[str, Tensor]], object]
BROKEN: dict[str, tuple[Change, str]] = {
    "renamed": (
        lambda t: t.update({f"score59.{n}": t.pop(f"score_fr.{n}") for n in ("weight", "bias")}),
        r"2 missing \(score_fr\.weight, score_fr\.bias\), 2 unexpected \(score59\.weight, "
        r"score59\.bias\); expected the layers conv1_1, conv1_2, .*, fc7, score_fr, upscore$",
    ),
    "missing": (lambda t: t.pop("conv3_2.bias"), r"1 missing \(conv3_2\.bias\); expected the"),
    "extra": (
        lambda t: t.update({f"x\n{i}": torch.zeros(1) for i in range(9)}),
        r"9 unexpected \('x\\n0', 'x\\n1', 'x\\n2', 'x\\n3', \.\.\.\)",
    ),
    "shape": (
        lambda t: t.update({"conv2_1.weight": torch.zeros(128, 64, 5, 5)}),
        r"1 of another shape \(conv2_1\.weight: \(128, 64, 5, 5\) in the file, \(128, 64, 3, 3\)",
    ),
    "huge": (
        lambda t: t.update({"upscore.weight": torch.zeros(1).expand(3, 3, 1 << 20, 1 << 20)}),
        r"1 of another shape \(upscore\.weight: \(3, 3, 1048576, 1048576\)",
    ),
    "claim": (
        lambda t: t.update({"score_fr.bias": torch.zeros(1).expand(10**12)}),
        "is for 10{12} classes; expected 1 to 255",
    ),
    "none": (lambda t: t.update({"score_fr.bias": torch.zeros(0)}), "for 0 classes; expected 1 to"),
    "of two counts": (
        lambda t: t.update({"score_fr.bias": torch.zeros(4)}),
        r"2 of another shape \(score_fr\.weight: \(3, 32, 1, 1\) in the file, \(4, 32, 1, 1\)",
    ),
    "nan": (lambda t: t["fc6.bias"].fill_(float("nan")), r"NaN or .* in 1 tensors \(fc6\.bias"),
    "nan kernel": (lambda t: t["upscore.weight"][0, 1].fill_(float("nan")), r"NaN .*\(upscore\.w"),
    "overflow": (
        lambda t: t.update({"fc6.bias": torch.full((32,), 1e300, dtype=torch.float64)}),
        r"NaN or infinity in 1 tensors \(fc6\.bias",
    ),
    "integers": (
        lambda t: t.update({"fc6.bias": torch.zeros(32, dtype=torch.int64)}),
        r"1 of another type \(fc6\.bias: torch\.int64 in the file, torch\.float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_fit_is_refused(kind: str, tmp_path: Path) -> None:
    change, match = BROKEN[kind]
    tensors = published.state("32s", classes=3)
    # one zero, shown in the shape of a convolution: a small file
    tensors |= {f"{n}.weight": torch.zeros(1).expand(o, i, 3, 3) for n, (i, o) in CONVS.items()}
    change(tensors)
    path = written(tmp_path, "a.pth", tensors)
    with pytest.raises(WeightsError, match=match) as caught:
        import_fcn("torchfcn", path, "32s")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_another_variant_is_recognised(tmp_path: Path) -> None:
    tensors = published.state("8s", classes=2)
    path = written(tmp_path, "a.caffemodel", tensors)
    with pytest.raises(WeightsError, match=r"its layers are those of --variant 8s$"):
        import_fcn("caffe", path, "16s")
    tensors["scale_pool4.weight"] = torch.full((512,), 0.01)
    tensors["scale_pool3.weight"] = torch.full((256,), 0.0001)
    path = written(tmp_path, "b.caffemodel", tensors)
    with pytest.raises(WeightsError, match=r"its layers are those of --variant 8s-atonce$"):
        import_fcn("caffe", path, "8s")
    tensors["scale_pool3.weight"][7] = 0.001
    path = written(tmp_path, "c.caffemodel", tensors)
    with pytest.raises(WeightsError, match=r"scale_pool3\.weight is not 0\.0001 throughout"):
        import_fcn("caffe", path, "8s-atonce")
    checkpoint = {"model_state_dict": published.state("8s", classes=2), "arch": "FCN8sAtOnce"}
    path = written(tmp_path, "d.pth.tar", checkpoint)
    with pytest.raises(WeightsError, match=r"holds the network FCN8sAtOnce; give --variant 8s-at"):
        import_fcn("torchfcn", path, "8s")
    assert import_fcn("torchfcn", path, "8s-atonce").info.variant == "8s-atonce"


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    tensors = published.state("32s", classes=2)
    for name in ("a.pth.tar", "a.caffemodel"):
        path = written(tmp_path, name, tensors)
        source = "caffe" if name.endswith("l") else "torchfcn"
        with open(path, "r+b") as file:
            for part in (0.9999, 0.9, 0.5, 0.1, 1e-3, 1e-5, 1e-7, 0):
                file.truncate(int(path.stat().st_size * part) if part else 0)
                with pytest.raises(WeightsError, match=r"^\S+a\.(pth\.tar|caffemodel): ") as caught:
                    import_fcn(source, path, "32s")
                assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_real_widths(tmp_path: Path) -> None:
    """134 million parameters, 540 MB: fc6 is 4096x512x7x7."""
    tensors = published.state("8s", width=4096)
    path = written(tmp_path, "fcn8s.caffemodel", tensors, v1=True, legacy=True)
    model = import_fcn("caffe", path, "8s")
    path.unlink()
    save_model(tmp_path / "out.safetensors", model)
    del model
    loaded = fcnseg.load(tmp_path / "out.safetensors")
    pixels = torch.randn(1, 3, 50, 41, generator=torch.Generator().manual_seed(0)) * 60
    with torch.inference_mode():
        assert_close(loaded(pixels), published.scores(tensors, "8s", pixels))


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        (
            "fc6.bias",
            torch.zeros(32, dtype=torch.float8_e4m3fn),
            r"1 of another type \(fc6\.bias: t",
        ),
        ("scale_pool4.weight", torch.zeros(0), r"scale_pool4\.weight is not 0\.01 throughout"),
        ("scale_pool4.weight", torch.zeros(512).to(torch.float8_e4m3fn), "is not 0.01 throughout"),
        ("fc6\x1b[2J.bias", torch.zeros(1), r"1 unexpected \('fc6\\x1b\[2J\.bias'\)"),
    ],
)
def test_numbers_and_names_that_no_network_has(
    name: str, values: Tensor, match: str, tmp_path: Path
) -> None:
    tensors = {**published.state("8s-atonce", classes=2), name: values}
    path = written(tmp_path, "a.pth", tensors)
    with pytest.raises(WeightsError, match=match) as caught:
        import_fcn("torchfcn", path, "8s-atonce")
    assert str(caught.value).isprintable()


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    tensors = published.state("32s", classes=2)
    path = written(tmp_path, "a.pth", {n: t.half() for n, t in tensors.items()})
    model = import_fcn("torchfcn", path, "32s")
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}
    assert torch.equal(
        model.head.score["stride32"].weight, tensors["score_fr.weight"].half().float()
    )
