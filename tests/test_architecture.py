"""The import rule and the cost of starting, read off the code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fcnseg"

# What each room may import of the others; a room may always import itself.
GROUND = {"errors", "checks", "files", "palette", "sizes"}
LEAVES = {"data", "losses", "metrics", "render", "weights"}
GEOMETRY = GROUND | {"geometry", "rules", "tracer", "trace"}
DILATION = {"spread", "dilate", "stitch"}
SURGERY = GEOMETRY | DILATION | {"norms", "window", "proof", "convolutionalize", "taps"}
SURGERY |= {"upsample"}
CATALOGUE = {"catalogue", "classifiers", "download", "preprocessing", "weights"}
CATALOGUE |= {"last_layer", "small_cnn"}
PARTS = SURGERY | CATALOGUE | {"heads", "backbones"}
MODEL = PARTS | {"model", "devices"}
MAY = {
    "errors": set(),
    "checks": {"errors"},
    "files": {"errors"},
    "palette": {"errors"},
    "sizes": {"errors"},
    "download": {"errors", "files"},
    "archives": {"errors", "files"},
    "devices": {"errors"},
    "settings": {"errors", "checks"},
    "data_config": {"errors", "checks", "settings"},
    "run_config": {"errors", "checks", "settings"},
    "recipes": {"errors", "checks", "run_config"},
    "config": {"errors", "checks", "data_config", "recipes", "run_config", "settings"},
    "class_list": {"errors", "palette"},
    "audit": GROUND | {"data", "metrics", "engine", "render"},
    "sources": GROUND | {"class_list", "config", "data", "engine"},
    "preprocessing": GROUND,
    "data": GROUND | {"archives", "download"},
    "losses": GROUND,
    "metrics": GROUND,
    "render": GROUND,
    "weights": GROUND,
    "geometry": GROUND,
    "rules": GROUND | {"geometry"},
    "tracer": set(),
    "trace": GEOMETRY,
    "norms": set(),
    "window": set(),
    "proof": GEOMETRY,
    "convolutionalize": GEOMETRY | {"norms", "proof", "window"},
    "taps": GEOMETRY | {"convolutionalize"},
    "spread": GEOMETRY,
    "dilate": GEOMETRY | {"spread"},
    "stitch": {"errors"},
    "catalogue": GROUND | {"preprocessing", "taps"},
    "small_cnn": set(),
    "last_layer": GEOMETRY,
    "classifiers": GROUND | CATALOGUE,
    "own_classifier": GROUND | CATALOGUE,
    "classifier_config": {"run_config", "settings"},
    "upsample": GEOMETRY,
    "heads": SURGERY,
    "backbones": SURGERY | CATALOGUE,
    "segmenters": PARTS,
    "model": PARTS | {"devices"},
    "engine": MODEL | LEAVES | {"class_list", "config", "own_classifier", "run_config", "settings"},
    "inference": MODEL | LEAVES,
    "explain": MODEL | LEAVES | {"build"},
    "export": MODEL,
    "build": MODEL | LEAVES | {"engine", "own_classifier"},
    "heatmaps": MODEL | LEAVES | {"build", "engine", "inference", "own_classifier", "segmenters"},
    "training": MODEL
    | LEAVES
    | {"audit", "build", "class_list", "config", "engine", "run_config", "sources"},
    "classifier_training": MODEL
    | LEAVES
    | {"audit", "classifier_config", "config", "engine", "inference", "own_classifier"}
    | {"run_config", "training"},
    "stages": {"build", "config", "engine", "errors", "files", "training"},
    "imports": MODEL | LEAVES | {"build", "segmenters"},
}
EVERYTHING = set(MAY) | {"cli"}
CORE = SURGERY | CATALOGUE - {"weights"} | {"heads", "backbones", "model", "devices"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{a.name}" for a in node.names} | {str(node.module)}
    return found


def rooms_of(path: Path) -> set[str]:
    named = {m.split(".")[1] for m in imports(path) if m.startswith("fcnseg.")}
    return named & EVERYTHING


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    own = room(path)
    if own in ("__init__", "__main__"):
        assert rooms_of(path) <= {"cli"}
        return
    allowed = EVERYTHING if own == "cli" else MAY[own] | {own}
    assert rooms_of(path) <= allowed


def test_every_room_has_its_rule() -> None:
    assert {room(p) for p in FILES} - {"__init__", "__main__"} == EVERYTHING


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in CORE], ids=lambda p: p.name)
def test_the_core_imports_torch_and_torchvision_only(path: Path) -> None:
    third = {m.split(".")[0] for m in imports(path)} - set(sys.stdlib_module_names) - {"fcnseg"}
    allowed = {"torch", "torchvision"}
    top = {
        alias.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    if path.name in ("catalogue.py", "classifiers.py"):  # inside the functions that need them
        allowed |= {"timm", "huggingface_hub"}
        assert not top & {"timm", "huggingface_hub"}
    assert third <= allowed


def test_render_imports_no_torch() -> None:
    for path in (PACKAGE / "render").glob("*.py"):
        assert not {m for m in imports(path) if m.split(".")[0] in ("torch", "torchvision")}


def test_augmentation_is_in_one_file() -> None:
    using = {p.name for p in FILES if "albumentations" in {m.split(".")[0] for m in imports(p)}}
    assert using == {"transforms.py"}


def loaded_after(code: str) -> set[str]:
    """Modules in a new interpreter after running ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "torchvision", "timm", "cv2", "albumentations", "matplotlib", "numpy"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_the_overview_imports_nothing_heavy(words: list[str]) -> None:
    code = f"from fcnseg.cli import main\nassert main({words}) == 0"
    assert not loaded_after(code) & HEAVY


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "heatmap", "train", "eval", "predict", "check", "classify", "upper-bound"),
        *("explain", "export", "models", "train-classifier"),
    ],
)
def test_help_imports_nothing_heavy_and_has_examples(command: str) -> None:
    code = f"from fcnseg.cli import main\nassert main([{command!r}, '--help']) == 0"
    assert not loaded_after(code) & HEAVY


def test_import_fcnseg_is_light_and_names_are_lazy() -> None:
    assert not loaded_after("import fcnseg\nassert 'load' in dir(fcnseg)") & HEAVY
    after = loaded_after("import fcnseg\nfcnseg.build_fcn, fcnseg.render.overlay, fcnseg.Predictor")
    assert "torch" in after
    assert "albumentations" not in after


def test_predict_and_heatmap_do_not_import_albumentations() -> None:
    code = "import fcnseg.inference.heatmap, fcnseg.build, fcnseg.cli.predict, fcnseg.cli.heatmap"
    assert "albumentations" not in loaded_after(code)


def test_no_file_is_long() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert {str(p): n for p, n in lengths.items() if n > 330} == {}
