"""How fast training samples are made, beside a plain PIL + torchvision.transforms.v2 pipeline.

Both do the same to the same files: open and decode image and mask, scale by 0.5 to 2, crop with
padding, mirror, vary the colours, and hand out uint8 batches of one size. They take turns in one
run, round by round, so that both see the same machine. Each is limited to one thread a process.

"cold" decodes the files anew in every round; "cached" reads what fcnseg's --cache has decoded.
In both cases the files lie in the memory of the operating system: every one is read once before
the clock starts, so that no disk is measured. The plain pipeline has no cache; in the last rows it
is given its images decoded in memory beforehand, which leaves the transforms and the batches.

    python tools/bench_data.py --data-root CamVid
    python tools/bench_data.py                      # pairs drawn for the purpose
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from fcnseg.config import Size
from fcnseg.data.cache import cached
from fcnseg.data.camvid import camvid
from fcnseg.data.cropping import Crop, cut_image, cut_label, draw_crop
from fcnseg.data.loading import collate, training_loader
from fcnseg.data.order import epoch_order
from fcnseg.data.sample import Sample, Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import TrainingTransform

_FILL, _VOID = (0, 0, 0), 255

Way = Callable[[int, int], Iterable[Any]]
"""(round, workers) -> the batches of one pass."""

Measure = Callable[[Iterable[Any]], tuple[float, float]]


class Plain(Dataset[Any]):
    """What a tutorial would write: PIL images through ``torchvision.transforms.v2``."""

    def __init__(self, source: Source, crop: tuple[int, int], tensors: bool, decoded: bool) -> None:
        self.files = [source.files(index) for index in range(len(source))]
        self.transform = plain_transform(source[0].label.shape, crop, tensors)
        self.pairs = [_decode(*pair) for pair in self.files] if decoded else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self.pairs[index] if self.pairs else _decode(*self.files[index])
        return self.transform(*pair)


def _decode(image: Path, mask: Path) -> tuple[Image.Image, tv_tensors.Mask]:
    labels = np.array(Image.open(mask))
    labels[labels == 11] = _VOID
    return Image.open(image).convert("RGB"), tv_tensors.Mask(torch.from_numpy(labels))


def plain_transform(size: tuple[int, ...], crop: tuple[int, int], tensors: bool) -> v2.Compose:
    """The steps of ``TrainingTransform``, on PIL images, or on tensors from the start."""
    fill = {Image.Image: _FILL, tv_tensors.Image: _FILL, tv_tensors.Mask: _VOID}
    jitter = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.03)
    steps: list[Any] = [
        v2.ScaleJitter(size[:2], (0.5, 2.0)),
        v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomApply([jitter], 0.8),
    ]
    return v2.Compose([v2.ToImage(), *steps] if tensors else [*steps, v2.ToImage()])


def plain_batches(data: Plain, batch_size: int, epoch: int, workers: int) -> Iterable[Any]:
    """One pass, in the order that fcnseg takes."""
    order = epoch_order(len(data), 0, epoch)
    return DataLoader(data, batch_size, sampler=order, num_workers=workers)


def rates(batches: Iterable[Any], count: int, crop: tuple[int, int]) -> tuple[float, float]:
    """Samples a second, and a second of computing, of a whole pass with the start of its workers.

    The second is told by the processes' own clocks, and so hardly knows of other programs.
    """
    seen = 0
    start, used = time.perf_counter(), sum(os.times()[:4])
    for batch in batches:
        images, labels = (batch.images, batch.labels) if hasattr(batch, "ids") else batch
        seen += len(images)
        assert images.shape[1:] == (3, *crop), images.shape
        assert labels.shape[1:] == crop, labels.shape
        assert images.dtype == labels.dtype == torch.uint8
    assert seen == count, (seen, count)
    return count / (time.perf_counter() - start), count / (sum(os.times()[:4]) - used)


def compare(ways: dict[str, Way], workers: list[int], rounds: int, measure: Measure) -> None:
    """Print the rates of each way, and how many times those of the first way they are."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number in range(rounds):
        for processes in workers:
            # Forwards and backwards in turn, so that no way always comes after the same other.
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
                made = measure(ways[way](number, processes))
                found.setdefault((way, processes), []).append(made)
    plain = next(iter(ways))
    for kind, title in enumerate(("samples a second", "samples a second of computing")):
        print(f"\n{title:30}" + "".join(f"{f'{n} workers':>20}" for n in workers))
        for way in ways:
            cells = []
            for processes in workers:
                mine = [made[kind] for made in found[way, processes]]
                others = [made[kind] for made in found[plain, processes]]
                ratio = statistics.median(a / b for a, b in zip(mine, others, strict=True))
                cells.append(f"{statistics.median(mine):8.1f} ({ratio:5.2f}x)")
            print(f"{way:30}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"medians of {rounds} rounds; in brackets the median of the rounds' ratios to {plain!r}")


def scaled_crop(sample: Sample, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    return cut_image(sample.image, crop), cut_label(sample.label, crop)


def profile(source: Source, crop: tuple[int, int], count: int, batch_size: int) -> None:
    """Print milliseconds a sample of each step, in this process."""
    image_files, mask_files = zip(*(source.files(i) for i in range(count)), strict=True)
    samples = [source[i] for i in range(count)]
    ours = TrainingTransform(crop)
    made = [Sample(*ours(s.image, s.label, i), s.id) for i, s in enumerate(samples)]
    draws = np.random.default_rng(0)
    size = samples[0].label.shape[0], samples[0].label.shape[1]
    crops = [draw_crop(size, crop, draws.uniform(0.5, 2), 0, draws) for _ in samples]
    plain = plain_transform(size, crop, tensors=False)
    pairs = [_decode(*source.files(i)) for i in range(count)]
    jitter = plain.transforms[3]
    steps: list[tuple[str, Callable[[int], object]]] = [
        ("both: Pillow decodes the image", lambda i: Image.open(image_files[i]).convert("RGB")),
        ("both: Pillow decodes the mask", lambda i: Image.open(mask_files[i]).load()),
        ("fcnseg: both, checked, as arrays", lambda i: source[i]),
        ("fcnseg: scale and crop", lambda i: scaled_crop(samples[i], crops[i])),
        ("fcnseg: all transforms", lambda i: ours(samples[i].image, samples[i].label, i)),
        ("fcnseg: batch", lambda i: None if i % batch_size else collate(made[:batch_size])),
        ("plain: all transforms", lambda i: plain(*pairs[i])),
        ("plain: the colours of these", lambda i: jitter(pairs[i][0])),
    ]
    print(f"\n{'milliseconds a sample':40}")
    for name, step in steps:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            for index in range(count):
                step(index)
            times.append((time.perf_counter() - start) / count)
        print(f"{name:40}{min(times) * 1e3:8.2f}")


def draw_pairs(folder: Path, count: int) -> None:
    """Write generated scenes with the grain of a photograph, in CamVid's layout and size."""
    shapes = Shapes("train", count, (360, 480))
    for name in ("train", "trainannot"):
        (folder / name).mkdir()
    for index in range(count):
        sample = shapes[index]
        grain = np.random.default_rng(index).normal(0, 6, sample.image.shape)
        image = np.clip(sample.image + grain, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "train" / f"{index:04}.png")
        label = np.where(sample.label == _VOID, 11, sample.label).astype(np.uint8)
        Image.fromarray(label).save(folder / "trainannot" / f"{index:04}.png")


def find_data(given: Path | None, folder: Path) -> Path:
    """The data root that was given, or of the tests, or pairs drawn for the purpose."""
    tests = os.environ.get("FCNSEG_TEST_DATA")
    if given is not None:
        return given
    if tests and (Path(tests) / "camvid").is_dir():
        return Path(tests) / "camvid"
    root = folder / "drawn"
    root.mkdir()
    draw_pairs(root, 200)
    return root


def run(args: argparse.Namespace, folder: Path) -> None:
    """Compare, and perhaps profile."""
    root = find_data(args.data_root, folder)
    source = camvid(root, "train")
    crop, size = Size(*map(int, args.crop_size.split("x"))), args.batch_size
    decoded = cached(source, args.cache or folder / "cache", max(args.workers))
    transform = TrainingTransform(crop)
    plain = Plain(source, crop, args.tensors, decoded=False)
    ready = Plain(source, crop, args.tensors, decoded=True)
    for pair in plain.files:
        for file in pair:
            file.read_bytes()
    print(f"{root}: {len(source)} samples, crops of {crop}, batches of {size}")
    ways: dict[str, Way] = {
        "plain, cold": lambda n, w: plain_batches(plain, size, n, w),
        "fcnseg, cold": lambda n, w: training_loader(source, transform, size, 0, n, w),
        "fcnseg, cached": lambda n, w: training_loader(decoded, transform, size, 0, n, w),
        "plain, decoded beforehand": lambda n, w: plain_batches(ready, size, n, w),
    }
    compare(ways, args.workers, args.rounds, lambda batches: rates(batches, len(source), crop))
    if args.profile:
        profile(source, crop, min(len(source), 100), size)


def main() -> None:
    """Compare the two pipelines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="CamVid; drawn pairs if there is none")
    parser.add_argument("--cache", type=Path, help="where to keep fcnseg's cache")
    parser.add_argument("--crop-size", default="360x480")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tensors", action="store_true", help="plain: on tensors, not on PIL")
    parser.add_argument("--profile", action="store_true", help="also say what takes the time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == "__main__":
    main()
