"""Run the real thing on a GPU and print a table of checks: 0 all passed, 1 not all, 5 no GPU.

Through the command line: a training, the same training killed and resumed to the same bytes,
evaluation, prediction, a heatmap, ``--compile`` and what is said when the memory is too small.
Through the library: the scores of the GPU against those of the CPU, the precisions against each
other, memory format, and timings with their ratios. Nothing is downloaded.

    python tools/smoke_gpu.py
    python tools/smoke_gpu.py --only resume compile --keep smoke
    python tools/smoke_gpu.py --device cpu --size 64 --images 24   # checks the script itself
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from smoke_parts import Failed, Smoke, agreement, batch, fcnseg, killed, losses, network, timed
from torch import Tensor, nn

from fcnseg.build import load
from fcnseg.files import sha256_of
from fcnseg.inference.predictor import Predictor
from fcnseg.model import score_images

_LIMITED = """
import sys, torch
torch.cuda.set_per_process_memory_fraction(0.01)
from fcnseg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def check_train(smoke: Smoke) -> str:
    """A training ends and its loss falls."""
    fcnseg(smoke.training("whole"))
    found = losses(smoke.folder / "whole")
    half = len(found) // 2
    before, after = float(np.mean(found[:half])), float(np.mean(found[half:]))
    if not after < before:
        raise Failed(f"the loss of the second epoch is {after:.3f}, of the first {before:.3f}")
    return f"{len(found)} steps, loss {before:.3f} -> {after:.3f}"


def check_resume(smoke: Smoke) -> str:
    """Killed twice, a training ends with the bytes of an unbroken one."""
    whole, broken = smoke.folder / "whole", smoke.folder / "broken"
    steps, kills = len(losses(whole)), []
    for wanted in (steps // 3, 2 * steps // 3):
        resume = ["--resume"] if kills else []
        kills.append(killed(smoke.training("broken", *resume), broken, wanted))
    fcnseg(smoke.training("broken", "--resume"))
    newest = max((whole / "last").iterdir()).name
    for name in ("best.safetensors", f"last/{newest}", "metrics.json"):
        if sha256_of(whole / name) != sha256_of(broken / name):
            raise Failed(f"{name} differs after kills at steps {kills} of {steps}")
    return f"killed at steps {kills[0]} and {kills[1]} of {steps}: the same bytes"


def check_eval(smoke: Smoke) -> str:
    """``fcnseg eval`` finds the score that the training noted."""
    best = smoke.folder / "whole" / "best.safetensors"
    words = ["eval", "--checkpoint", str(best), *smoke.data(), "--device", str(smoke.device)]
    found = json.loads(fcnseg([*words, "--json"]))["mean_iu"]
    noted = json.loads((smoke.folder / "whole" / "metrics.json").read_text("utf-8"))
    if abs(found - noted["best"]["score"]) > 1e-3:
        raise Failed(f"mean IU {found:.4f}, in training {noted['best']['score']:.4f}")
    return f"mean IU {found:.3f}, as in training"


def check_predict(smoke: Smoke) -> str:
    """``fcnseg predict`` gives the labels of the CPU."""
    photo, best = smoke.folder / "photo.png", smoke.folder / "whole" / "best.safetensors"
    Image.fromarray(smoke.picture()).save(photo)
    found = []
    for name in (str(smoke.device), "cpu"):
        out = smoke.folder / f"predicted-{name}"
        words = ["predict", "--checkpoint", str(best), "--device", name, "--out", str(out)]
        fcnseg([*words, "--precision", "fp32", str(photo)])
        masks = [np.asarray(Image.open(p)) for p in sorted(out.rglob("*.png"))]
        found.append(masks[0])
    return agreement(found[0] == found[1], 0.99, "pixels as on the CPU")


def check_heatmap(smoke: Smoke) -> str:
    """``fcnseg heatmap`` draws."""
    out = smoke.folder / "heat"
    words = ["heatmap", "--backbone", smoke.backbone, "--device", str(smoke.device)]
    fcnseg([*words, "--out", str(out), str(smoke.folder / "photo.png")])
    drawn = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if not drawn:
        raise Failed("nothing was written")
    return f"{drawn} bytes"


def check_compile(smoke: Smoke) -> str:
    """``--compile`` trains as without."""
    fcnseg(smoke.training("compiled", "--compile"))
    pairs = zip(losses(smoke.folder / "compiled"), losses(smoke.folder / "whole"), strict=True)
    apart = max(abs(a - b) / max(abs(b), 0.1) for a, b in list(pairs)[:5])
    if apart > 0.05:
        raise Failed(f"the first losses differ by {100 * apart:.1f} %")
    return f"the first losses differ by {100 * apart:.2g} %"


def check_memory(smoke: Smoke) -> str:
    """Too little memory is one line that says what to lower."""
    if not smoke.on_gpu:
        return "left out on the CPU"
    words = smoke.training("full", "--batch-size", "64", "--workers", "0")
    words[words.index("--backbone") + 1 : words.index("--backbone") + 2] = ["vgg16"]
    lines = fcnseg([*words, "--weights", "none"], expected=5, script=_LIMITED).strip().splitlines()
    said = [line for line in lines if line.startswith("error: out of memory (")]
    if len(said) != 1 or "--batch-size" not in said[0]:
        raise Failed(f"said {lines[-1][:200]}")
    return said[0]


def check_scores(smoke: Smoke) -> str:
    """The scores of a trained network are those of the CPU."""
    best = smoke.folder / "whole" / "best.safetensors"
    photo = smoke.picture()
    here, there = (
        Predictor(load(best), name, "fp32")(photo).scores for name in (str(smoke.device), "cpu")
    )
    assert here is not None
    assert there is not None
    apart = float(np.abs(here - there).max() / np.abs(there).max())
    if apart > 0.01:
        raise Failed(f"they differ by {apart:.2g} of the largest")
    return f"they differ by {apart:.1g} of the largest"


def check_precisions(smoke: Smoke) -> str:
    """All precisions predict the same and train alike."""
    model = load(smoke.folder / "whole" / "best.safetensors").to(smoke.device)
    pixels = torch.from_numpy(smoke.picture()).permute(2, 0, 1)[None]
    labels, ends = {}, {}
    for name, precision in smoke.precisions.items():
        score = score_images(model, pixels, smoke.device, precision, "photo")
        labels[name] = score.argmax(1).cpu()
        run = f"trained-{name}"
        fcnseg(smoke.training(run, "--precision", name, "--iterations", "6"))
        ends[name] = losses(smoke.folder / run)
    said = []
    for name in list(smoke.precisions)[1:]:
        same = agreement((labels[name] == labels["fp32"]).numpy(), 0.97, f"labels of {name}")
        a, b = np.mean(ends[name]), np.mean(ends["fp32"])
        if abs(a - b) > 0.1 * b:
            raise Failed(f"mean loss in {name} {a:.3f}, in fp32 {b:.3f}")
        said.append(f"{same}, loss {a:.3f} ({b:.3f})")
    return "; ".join(said)


def check_memory_format(smoke: Smoke) -> str:
    """Channels stay last in memory through the backbone."""
    model = network(smoke)
    wrong: list[str] = []

    def look(module: nn.Module, given: Any, out: Any) -> None:
        del given
        is_map = isinstance(out, Tensor) and out.dim() == 4 and min(out.shape[1:]) > 1
        if is_map and not out.is_contiguous(memory_format=torch.channels_last):
            wrong.append(type(module).__name__)

    layers = [m for m in model.backbone.modules() if not list(m.children())]
    for layer in layers:
        layer.register_forward_hook(look)
    model(batch(smoke)[0])
    if wrong:
        raise Failed(f"not after {', '.join(wrong[:4])}")
    return f"after all {len(layers)} layers"


def check_timings(smoke: Smoke) -> str:
    """Time training and prediction in every precision and memory format; fails never."""
    for name, precision in smoke.precisions.items():
        for last in (True, False):
            train, predict, memory = timed(smoke, precision, last)
            what = f"{name}, channels {'last' if last else 'first'}"
            smoke.rows.append((what, train, predict, memory))
    first = smoke.rows[0]
    best = min(smoke.rows, key=lambda row: row[1])
    return f"training is fastest in {best[0]}: {first[1] / best[1]:.2f} times {first[0]}"


CHECKS: dict[str, Callable[[Smoke], str]] = {
    "train": check_train,
    "resume": check_resume,
    "eval": check_eval,
    "predict": check_predict,
    "heatmap": check_heatmap,
    "scores": check_scores,
    "precisions": check_precisions,
    "compile": check_compile,
    "memory": check_memory,
    "memory-format": check_memory_format,
    "timings": check_timings,
}


def run_checks(smoke: Smoke, names: Sequence[str]) -> bool:
    """Run checks in order, print a line for each and then the timings; True if all passed."""
    passed = True
    for name in names:
        start = time.perf_counter()
        try:
            verdict, said = "PASS", CHECKS[name](smoke)
        except Failed as error:
            verdict, said = "FAIL", str(error)
        except Exception as error:
            verdict, said = "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        passed = passed and verdict == "PASS"
        print(f"{verdict}  {name:<14}{time.perf_counter() - start:7.1f} s  {said}", flush=True)
    for what, train, predict, memory in smoke.rows:
        ratios = smoke.rows[0][1] / train, smoke.rows[0][2] / predict
        line = f"{what:<22}training {train:8.1f} ms ({ratios[0]:.2f}x, {memory:.0f} MiB)"
        print(f"      {line}  prediction {predict:8.1f} ms ({ratios[1]:.2f}x)")
    return passed


def main() -> int:
    """Parse, check, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for the script")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="whose weights are here")
    parser.add_argument("--size", type=int, default=160, help="side of the images in pixels")
    parser.add_argument("--images", type=int, default=320, help="training images")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), help="some need `train` first")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, and to keep")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "error: torch finds no GPU (torch.cuda.is_available() is false); run this where there "
            "is one, with a torch built for CUDA, or check the script with --device cpu",
            file=sys.stderr,
        )
        return 5
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        smoke = Smoke(device, folder.resolve(), args.backbone, args.size, args.images)
        return 0 if run_checks(smoke, args.only or list(CHECKS)) else 1


if __name__ == "__main__":
    sys.exit(main())
