"""Folders of images and masks as people have them, sound and with faults made on purpose."""

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 48)  # height, width
COLOURS = ((128, 128, 128), (200, 30, 30), (30, 200, 30))
CLASSES = "ground=#808080,house=#c81e1e,tree=#1ec81e"


def photograph(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise in RGB that differs from seed to seed."""
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(values)


def labels(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Class ids 0 to 2 in rectangles, (H, W) uint8, with one void pixel."""
    numbers = np.random.default_rng(seed)
    ids = np.zeros(size, np.uint8)
    for class_id in (1, 2):
        y, x = numbers.integers(1, 12, 2)
        ids[y : y + 10 + 9 * class_id, x : x + 20] = class_id
    ids[0, 0] = 255
    return ids


def write_pairs(root: Path, count: int = 2, first: int = 0) -> Path:
    """Write ``images/good0.png`` and ``masks/good0.png``, and so on; returns ``root``."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        write_pair(root, f"good{seed}.png", seed)
    return root


def write_pair(root: Path, name: str, seed: int) -> tuple[Path, Path]:
    """Write one sound pair; returns its files, to be damaged."""
    image = root / "images" / name
    mask = (root / "masks" / name).with_suffix(".png")
    photograph(seed).save(image)
    Image.fromarray(labels(seed)).save(mask)
    return image, mask


def flags(root: Path, classes: str = CLASSES) -> list[str]:
    return ["--images", str(root / "images"), "--masks", str(root / "masks"), "--classes", classes]


def hashes(root: Path) -> dict[str, str]:
    """Return path -> content of everything below ``root``; links count by where they lead."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path)] = "folder"
    return found


def cut_short(path: Path, kept: float = 0.5) -> None:
    """Leave the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])


def bomb(path: Path, height: int = 20_000, width: int = 20_000) -> None:
    """Write a small PNG whose header claims ``height`` x ``width`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(width + 1), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def turned(path: Path, seed: int) -> None:
    """Write a photograph that lies on its side, with the orientation that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = photograph(seed).transpose(Image.Transpose.ROTATE_90)
    lying.save(path, exif=exif, quality=95)
