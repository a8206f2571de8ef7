"""Photographs of coloured, textured shapes with their masks: a class each, no two alike."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CLASSES = ("disc", "lozenge", "square")
_COLOURS = {"disc": (200, 60, 50), "lozenge": (60, 80, 205), "square": (60, 170, 70)}


def scene(class_name: str, seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Return (side, side, 3) uint8 and where the object is, (side, side) bool.

    The object covers about a sixth of the picture, somewhere; around it are blotches and noise.
    """
    numbers = np.random.default_rng([7, CLASSES.index(class_name), seed])
    grid = numbers.uniform(-45, 45, (7, 7, 3)).astype(np.float32)
    grey = numbers.uniform(60, 190) + numbers.uniform(-35, 35, 3)
    image = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC) + grey
    image += numbers.normal(0, 22, image.shape)

    radius = side * numbers.uniform(0.2, 0.26)
    x, y = numbers.uniform(radius, side - radius, 2)
    down, right = np.mgrid[:side, :side] - np.array([y, x])[:, None, None]
    angle = numbers.uniform(0, np.pi)
    u = right * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - right * np.sin(angle)
    if class_name == "disc":
        mask, light = np.hypot(u, v) < radius, np.sin(u * 0.8) > 0
    elif class_name == "lozenge":
        mask, light = abs(u) + abs(v) < 1.2 * radius, np.sin(np.hypot(u, v) * 0.7) > 0
    else:
        mask = np.maximum(abs(u), abs(v)) < 0.85 * radius
        light = np.sin(u * 0.6) * np.sin(v * 0.6) > 0

    colour = np.clip(_COLOURS[class_name] + numbers.normal(0, 28, 3), 0, 255)
    paint = np.where(light[..., None], colour, colour * numbers.uniform(0.3, 0.6))
    image = np.where(mask[..., None], paint + numbers.normal(0, 10, image.shape), image)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def write_folders(root: Path, count: int, first_seed: int = 0, side: int = 96) -> Path:
    """Write ``count`` scenes a class as ``root/CLASS/NUMBER.png``; return ``root``."""
    for class_name in CLASSES:
        (root / class_name).mkdir(parents=True)
        for seed in range(first_seed, first_seed + count):
            image, _ = scene(class_name, seed, side)
            Image.fromarray(image).save(root / class_name / f"{seed:04}.png")
    return root
