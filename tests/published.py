"""The published FCNs, re-stated without the package: their tensors, scores and files.

Names, shapes, paddings, strides and crops are typed here as the papers' code has them.
"""

import functools
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

VARIANTS = ("32s", "16s", "8s", "8s-atonce")
CONVS = {
    "conv1_1": (3, 64),
    "conv1_2": (64, 64),
    "conv2_1": (64, 128),
    "conv2_2": (128, 128),
    "conv3_1": (128, 256),
    "conv3_2": (256, 256),
    "conv3_3": (256, 256),
    "conv4_1": (256, 512),
    "conv4_2": (512, 512),
    "conv4_3": (512, 512),
    "conv5_1": (512, 512),
    "conv5_2": (512, 512),
    "conv5_3": (512, 512),
}
KERNELS = {
    "32s": {"upscore": 64},
    "16s": {"upscore2": 4, "upscore16": 32},
    "8s": {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16},
}
KERNELS["8s-atonce"] = KERNELS["8s"]
SKIPS = {"32s": {}, "16s": {"score_pool4": 512}, "8s": {"score_pool4": 512, "score_pool3": 256}}
SKIPS["8s-atonce"] = SKIPS["8s"]


def bilinear(k: int, classes: int) -> Tensor:
    """Dense kernels (K, K, k, k): bilinear from each class to itself, zero elsewhere."""
    half = (k + 1) // 2
    line = [1 - abs(i - (k - 1) / 2) / half for i in range(k)]
    kernel = torch.zeros(classes, classes, k, k)
    for c in range(classes):
        kernel[c, c] = torch.tensor([[a * b for b in line] for a in line])
    return kernel


def state(variant: str, classes: int = 21, width: int = 32) -> dict[str, Tensor]:
    """Random tensors under the published names; maps keep the size of the input's values."""
    return {name: values.clone() for name, values in _drawn(variant, classes, width).items()}


@functools.lru_cache(2)
def _drawn(variant: str, classes: int, width: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, scale: float) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    found: dict[str, Tensor] = {}

    def layer(name: str, outs: int, ins: int, k: int, gain: float = 2.0) -> None:
        found[f"{name}.weight"] = draw(outs, ins, k, k, scale=(gain / (ins * k * k)) ** 0.5)
        found[f"{name}.bias"] = draw(outs, scale=1.0)

    for name, (ins, outs) in CONVS.items():
        layer(name, outs, ins, 3)
    layer("fc6", width, 512, 7)
    layer("fc7", width, width, 1)
    layer("score_fr", classes, width, 1)
    for name, ins in SKIPS[variant].items():
        # At once, what the skips are scaled by is small; its scores have to count here.
        at_once = {"score_pool4": 1e4, "score_pool3": 1e8}[name]
        layer(name, classes, ins, 1, gain=2 * at_once if variant == "8s-atonce" else 2)
    for name, k in KERNELS[variant].items():
        found[f"{name}.weight"] = bilinear(k, classes)
    return found


def scores(tensors: Mapping[str, Tensor], variant: str, image_N3HW: Tensor) -> Tensor:
    """The published network: (N, 3, H, W) of BGR less the mean -> (N, K, H, W)."""

    def conv(x: Tensor, name: str, padding: int = 0) -> Tensor:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=padding)

    def up(x: Tensor, name: str, stride: int) -> Tensor:
        return F.conv_transpose2d(x, tensors[f"{name}.weight"], stride=stride, groups=1)

    def cut(x: Tensor, start: int, like: Tensor) -> Tensor:
        rows, columns = like.shape[2:]
        return x[:, :, start : start + rows, start : start + columns]

    x, pools = image_N3HW, {}
    for name in CONVS:
        x = F.relu(conv(x, name, padding=100 if name == "conv1_1" else 1))
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            pools[name[4]] = x
    x = conv(F.relu(conv(F.relu(conv(x, "fc6")), "fc7")), "score_fr")
    if variant == "32s":
        return cut(up(x, "upscore", 32), 19, image_N3HW)
    scale4, scale3 = (0.01, 0.0001) if variant == "8s-atonce" else (1.0, 1.0)
    x = up(x, "upscore2", 2)
    x = x + cut(conv(pools["4"] * scale4, "score_pool4"), 5, x)
    if variant == "16s":
        return cut(up(x, "upscore16", 16), 27, image_N3HW)
    x = up(x, "upscore_pool4", 2)
    x = x + cut(conv(pools["3"] * scale3, "score_pool3"), 9, x)
    return cut(up(x, "upscore8", 8), 31, image_N3HW)


def varint(number: int) -> bytes:
    """Seven bits a byte, lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, value: int | bytes | str) -> bytes:
    """A varint, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(values: Tensor, legacy: bool = False, packed: bool = True, double: bool = False) -> bytes:
    """A BlobProto: shape in field 7, or num, channels, height and width; numbers in 5 or 8."""
    numbers = values.numpy().astype("<f8" if double else "<f4")
    sides = list(numbers.shape)
    if legacy:
        shape = b"".join(field(i, n) for i, n in enumerate([1] * (4 - len(sides)) + sides, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, sides))))
    if packed:
        data = field(8 if double else 5, numbers.tobytes())
    else:
        key = bytes([8 << 3 | 1 if double else 5 << 3 | 5])
        data = b"".join(key + number.tobytes() for number in numbers.ravel())
    # The older kind puts its numbers after the shape, the newer one before it.
    return shape + data if legacy else data + field(6, b"") + shape


def layer(name: str, blobs: Sequence[bytes], v1: bool = False) -> bytes:
    """A layer of a NetParameter with what else Caffe writes into it."""
    if v1:
        inner = field(2, "bottom") + field(3, "top") + field(4, name) + field(5, 4)
        rates = b"\x3d" + struct.pack("<f", 1.0) + b"\x3d" + struct.pack("<f", 2.0)
        return field(
            2, inner + b"".join(field(6, b) for b in blobs) + rates + field(10, b"\x08\x15")
        )
    inner = field(1, name) + field(2, "Convolution") + field(3, "bottom") + field(4, "top")
    inner += field(6, b"\x1d" + struct.pack("<f", 1.0)) + b"".join(field(7, b) for b in blobs)
    return field(100, inner + field(10, 1) + field(106, b"\x08\x15"))


def caffemodel(tensors: Mapping[str, Tensor], v1: bool = False, **how: bool) -> bytes:
    """A NetParameter with the blobs of ``tensors`` by layer, and layers that have none."""
    layers: dict[str, list[bytes]] = {"data": []}
    for name, values in tensors.items():
        layers.setdefault(name.rpartition(".")[0], []).append(blob(values, **how))
        layers.setdefault(f"relu_{name}", [])
    written = b"".join(layer(name, blobs, v1) for name, blobs in layers.items())
    return field(1, "FCN") + field(3, "data") + field(4, 1) + field(4, 3) + written


def preprocessed(image_HW3: np.ndarray) -> Tensor:
    """8-bit RGB to (1, 3, H, W): blue first, less Caffe's mean."""
    bgr = image_HW3[:, :, ::-1].astype(np.float64) - (104.00699, 116.66877, 122.67892)
    return torch.from_numpy(bgr.transpose(2, 0, 1)[None].astype(np.float32))
