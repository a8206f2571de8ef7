"""Masks and a heatmap a class for a folder of photographs, on the GPU.

Photographs are read, computed and written at the same time; everything between the decoded
photograph and the finished picture happens on the device, colours included. A heatmap
is the probability of a class, 0 to 1 in the colours of ``fcnseg heatmap``, over the photograph in
grey. OUT/a.png is the mask of a.jpg, OUT/a.15-person.heatmap.jpg the heatmap of its class 15.

    python tools/render_folder.py photos --checkpoint runs/x/best.safetensors
    python tools/render_folder.py photos --model torchvision/fcn_resnet50 --classes person,dog
    python tools/render_folder.py photos --checkpoint best.safetensors --classes all --device cpu
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fcnseg.cli.faults import exit_code_and_line
from fcnseg.cli.finding import Photograph
from fcnseg.cli.inputs import output_folder, passed_over, photographs
from fcnseg.cli.segmenter import add_segmenter, check_segmenter, load_segmenter
from fcnseg.data.images import read_image
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.devices import choose_device, choose_precision
from fcnseg.errors import UsageError
from fcnseg.inference.class_names import find_classes
from fcnseg.inference.flow import chunks_of, overlapped
from fcnseg.inference.pictures import by_size
from fcnseg.model import Segmenter, score_images
from fcnseg.preprocessing import from_array
from fcnseg.render import write_image, write_mask
from fcnseg.render.colours import probability_scale
from fcnseg.render.panels import background_of

Read = tuple[np.ndarray, np.ndarray]
"""The photograph, (H, W, 3), and its grey background, (H, W); uint8."""
Pictures = tuple[np.ndarray, dict[int, np.ndarray]]
"""Labels, (H, W) uint8, and by class id the heatmap, (H, W, 3) uint8."""


class Renderer:
    """A network and the colours of probabilities, on a device.

    Args:
        model: the network.
        device: ``"auto"`` or the name of one.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        ids: classes to draw; None: those that have a share of ``least`` of a photograph.
        least: in [0, 1].
    """

    def __init__(
        self, model: Segmenter, device: str, precision: str, ids: list[int] | None, least: float
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.model = model.eval().to(self.device).to(memory_format=torch.channels_last)
        self.ids, self.least = ids, least
        scale = probability_scale()
        self.opacity = torch.from_numpy(scale.opacity).to(self.device)
        self.colours = torch.from_numpy(np.array(scale.colours, np.float32)).to(self.device)
        self.colours *= self.opacity[:, None]

    def compute(self, items: Sequence[Photograph], read: Sequence[Read]) -> list[Pictures]:
        """Labels and heatmaps; photographs of one size go through the network together."""
        found: dict[int, Pictures] = {}
        for same in by_size([pixels for pixels, _ in read]):
            images = from_array(np.stack([read[i][0] for i in same])).to(self.device)
            greys = torch.from_numpy(np.stack([read[i][1] for i in same])).to(self.device)
            names = ", ".join(str(items[i]) for i in same)
            with torch.inference_mode():
                score_NKHW = score_images(self.model, images, self.device, self.precision, names)
                for n, i in enumerate(same):
                    found[i] = self._pictures(score_NKHW[n].float(), greys[n].float())
        return [found[i] for i in range(len(read))]

    def _pictures(self, score_KHW: Tensor, grey_HW: Tensor) -> Pictures:
        labels = score_KHW.argmax(0)
        ids = self.ids
        if ids is None:
            pixels = labels.flatten().bincount(minlength=len(score_KHW))
            ids = torch.nonzero(pixels >= self.least * labels.numel()).flatten().tolist()
        total = score_KHW.logsumexp(0)
        drawn = {}
        for k in ids:
            steps = ((score_KHW[k] - total).exp() * (len(self.opacity) - 1)).round().long()
            behind = grey_HW * (1 - self.opacity[steps])
            picture = (behind[..., None] + self.colours[steps]).round().to(torch.uint8)
            drawn[k] = picture.cpu().numpy()
        return labels.to(torch.uint8).cpu().numpy(), drawn


def read(photograph: Photograph) -> Read:
    """Decode a photograph, and its grey version."""
    pixels = read_image(photograph.path, MAX_PIXELS)
    return pixels, background_of(pixels)[..., 0].copy()


def class_file(stem: Path, class_id: int, name: str) -> Path:
    """What the heatmap of a class is called."""
    word = re.sub(r"\W+", "-", name.lower()).strip("-")
    return stem.with_name(f"{stem.name}.{class_id:02d}-{word}.heatmap.jpg")


def run(words: Sequence[str] | None) -> int:
    """Parse, render, say how fast."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs and folders")
    add_segmenter(parser)
    parser.add_argument("--out", default="rendered", help="where to write (default rendered)")
    parser.add_argument(
        "--classes", help="names, or all (default: what covers 1 %% of a photograph)"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=4, help="that read, and that write")
    args = parser.parse_args(words)
    for flag in ("batch_size", "threads"):
        if getattr(args, flag) < 1:
            raise UsageError(
                f"--{flag.replace('_', '-')} {getattr(args, flag)}: expected 1 or more"
            )
    check_segmenter(args)
    found = photographs(args.images, args.out)
    folder = output_folder(args.out, found, (".png",))
    model = load_segmenter(args)[0]
    classes, palette = model.info.classes, model.info.palette
    ids = None
    if args.classes is not None:
        every = args.classes == "all"
        ids = list(range(len(classes))) if every else find_classes(classes, args.classes.split(","))
    renderer = Renderer(model, args.device, args.precision, ids, 0.01)

    def write(photograph: Photograph, pictures: Pictures) -> int:
        labels, drawn = pictures
        stem = folder / photograph.stem
        for k, picture in drawn.items():
            write_image(class_file(stem, k, classes[k]), picture)
        write_mask(stem.with_name(f"{stem.name}.png"), labels, palette)
        return 1 + len(drawn)

    start, bad, files = time.perf_counter(), 0, 0
    chunks = chunks_of(found, args.batch_size)
    flow = overlapped(
        chunks, read, renderer.compute, write, readers=args.threads, writers=args.threads
    )
    with closing(flow):
        for outcome in flow:
            if outcome.result is None:
                print(f"error: {outcome.error}", file=sys.stderr)
                bad += 1
            else:
                files += outcome.result
    seconds, done = time.perf_counter() - start, len(found) - bad
    print(
        f"{done} photographs, {files} files in {folder}; {done / seconds:.1f} images/s on "
        f"{renderer.device}, reading and writing included"
    )
    return passed_over(bad, len(found))


def main(words: Sequence[str] | None = None) -> int:
    """Run; an error is one line and an exit code."""
    try:
        return run(words)
    except (Exception, KeyboardInterrupt) as error:
        code, line = exit_code_and_line(error, "predict")
        print(line, file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main())
