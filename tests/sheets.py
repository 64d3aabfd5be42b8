"""Sheets of paper with a digit on them, as somebody might draw, scan or photograph it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

# Where the pen goes, in a box of 1 x 1.
STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "1": [[(0.5, 0.05), (0.47, 0.95)]],
    "4": [[(0.6, 0.05), (0.15, 0.62), (0.85, 0.62)], [(0.62, 0.3), (0.6, 0.97)]],
    "7": [[(0.15, 0.1), (0.85, 0.1), (0.4, 0.95)]],
    "0": [[(0.5 + 0.3 * np.cos(t), 0.5 + 0.42 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 50)]],
}


def drawn(digit: str, width: int = 18, size: tuple[int, int] = (200, 300), box: Any = (30, 60, 130, 180)) -> Any:
    """How much ink there is on a sheet of `size` (wide, high): (H, W), 0 to 1. The box is (left, top, wide, high)."""
    sheet = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    pen = ImageDraw.Draw(sheet)
    left, top, wide, high = box
    for stroke in STROKES[digit]:
        points = [((left + x * wide) * 2, (top + y * high) * 2) for x, y in stroke]
        pen.line(points, fill=255, width=2 * width, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse([x - width, y - width, x + width, y + width], fill=255)
    return np.asarray(sheet.resize(size, Image.Resampling.BOX)) / 255.0


def black_on_white(ink: Any) -> Any:
    return as_bytes(255.0 - 255.0 * ink)


def photographed(ink: Any, rng: np.random.Generator, *, shadow: bool = False) -> Any:
    """Under a lamp at the left, with the grain of a sensor; `shadow`: something stands in the light, too."""
    y, x = (axis / size for axis, size in zip(np.indices(ink.shape), ink.shape, strict=True))
    light = 200.0 - 90.0 * x - 40.0 * y**2
    if shadow:
        light = np.where(x + 0.3 * y > 0.75, 0.6, 1.0) * light
    return as_bytes(light * (1.0 - 0.75 * ink) + rng.normal(0.0, 4.0, ink.shape))


def enlarged(digit: Any, rng: np.random.Generator) -> Any:
    """How much ink there is on a sheet that has one of MNIST's images somewhere, 40 to 400 pixels large: (H, W)."""
    size = int(rng.integers(40, 401))
    large = Image.fromarray(digit).resize((size, size), rng.choice([2, 3, 1]))  # bilinear, bicubic, Lanczos
    height, width = (int(size * rng.uniform(1.0, 2.5)) for _ in range(2))
    ink = np.zeros((height, width))
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    ink[top : top + size, left : left + size] = np.asarray(large) / 255.0
    return ink


def rendered(digit: Any, rng: np.random.Generator) -> Any:
    """The same as black on white or white on black, as it comes out of a PNG or a JPEG file."""
    sheet = black_on_white(enlarged(digit, rng))
    picture = Image.fromarray(sheet if rng.random() < 0.5 else 255 - sheet)
    file = io.BytesIO()
    if rng.random() < 0.5:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def as_bytes(values: Any) -> Any:
    return np.rint(values).clip(0, 255).astype(np.uint8)
