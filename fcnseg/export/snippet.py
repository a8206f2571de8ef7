"""A few lines of Python that run an exported file on a photograph, for its card."""

import json

from fcnseg.export.deployed import INPUT, Deployed


def how_to_run(name: str, format: str, deployed: Deployed) -> str:
    """Markdown with Python for a photograph ``photo.jpg`` beside the file ``name``."""
    needs = "numpy pillow onnxruntime" if format == "onnx" else "numpy pillow torch"
    code = "\n".join([*_imports(format), "", *_image(deployed), *_run(name, format, deployed)])
    return f"`pip install {needs}`, then:\n\n```python\n{code}\n```\n\n{_READS}"


_READS = (
    "These lines read 8-bit RGB and grey without alpha. fcnseg itself lays transparent pixels on "
    "white and keeps the high byte of 16-bit values; convert such files in this way first."
)


def _imports(format: str) -> list[str]:
    runtime = "import onnxruntime" if format == "onnx" else "import torch"
    return ["import numpy as np", runtime, "from PIL import Image, ImageOps"]


def _image(deployed: Deployed) -> list[str]:
    info = deployed.model.info
    how, side = info.preprocessing, info.short_side
    lines = ['image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")']
    if side is not None:
        lines += [
            f"size = [{side} * side // min(image.size) for side in image.size]",
            "image = image.resize(size, Image.Resampling.BILINEAR)",
        ]
    lines.append("pixels = np.asarray(image).transpose(2, 0, 1)[None]  # (1, 3, H, W) uint8")
    if not deployed.preprocess:
        if how.order == "BGR":
            lines.append("pixels = pixels[:, ::-1]")
        lines += [
            f"mean = np.array({list(how.mean)!r}).reshape(3, 1, 1)",
            f"std = np.array({list(how.std)!r}).reshape(3, 1, 1)",
            f"pixels = ((pixels * {how.scale!r} - mean) / std).astype(np.float32)",
        ]
    return lines


def _run(name: str, format: str, deployed: Deployed) -> list[str]:
    quoted = json.dumps(name, ensure_ascii=False)
    if format == "onnx":
        lines = [
            f"session = onnxruntime.InferenceSession({quoted})",
            f'(output,) = session.run(None, {{"{INPUT}": pixels}})',
        ]
    else:
        lines = [
            f"program = torch.export.load({quoted}).module()",
            "with torch.no_grad():",
            "    output = program(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()",
        ]
    if deployed.argmax:
        return [*lines, "labels = output[0]  # (H, W) class ids"]
    return [*lines, "labels = output[0].argmax(0)  # (H, W) class ids"]
