"""Digits that the package draws itself, so that training needs no download.

How one image comes about:

1. A way of writing the digit is chosen: the points that the pen passes through (`strokes.PATHS`).
2. The hand: the points move a little, neighbours partly together; a slow wave bends the sheet; the digit is stretched,
   sheared and turned.
3. A smooth curve is laid through the points and cut into short pieces. A place on the curve is a weighted sum of the
   points, so this is one product with a matrix that is made once per way of writing (`curves`).
4. As in MNIST, the digit is scaled, with its proportions kept, into a box of 20 x 20 pixels and moved until its centre
   of mass is at the centre of 28 x 28.
5. The pen: each piece adds a round Gaussian spot, and the logarithm of their sum is a soft distance to the stroke. The
   paper is inked where it is below the pen's radius, with a ramp of about one pixel (anti-aliasing). A Gaussian spot is
   a column times a row, so the sum over all pieces is one matrix product per image.

Images are drawn in chunks, each from a generator of its own, seeded by (seed, split, chunk): the first k images are the
same however many are asked for, and memory stays small.
"""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array
from ..checks import integer
from .curves import all_ways
from .dataset import Dataset

SIZE = 28  # height and width of an image, pixels
BOX = 20.0  # longer side of a digit, pixels
CENTRE = 14.0  # where the centre of mass lies, as a pixel index
CHUNK = 250  # images drawn together
PIECES = 96  # of one curve; each is shorter than a spot is wide

# The hand. A "spread" is a standard deviation, and one of a logarithm is a spread of ratios.
JITTER = 6.0  # how far a point moves: spread, per cent of the box
TOGETHER = 0.5  # how much of a neighbour's move a point shares
LOOSE_ENDS = 1.6  # the two ends of a stroke move more, by this factor
WAVE = 6.0  # height of the slow wave: spread, per cent of the box
WAVE_TURNS = 0.02  # its angle per per cent of the box: spread, radians
NEATNESS_SPREAD = 0.35  # log of how much stronger or weaker both are from one image to another
ASPECT_SPREAD = 0.18  # log of width to height
SLANT, SLANT_SPREAD = 0.12, 0.28  # shear; most hands lean to the right
TURN_SPREAD = 0.1  # rotation, radians

# The pen.
RADIUS, RADIUS_SPREAD = 1.15, 0.32  # median in pixels, and its log
RADIUS_RANGE = 0.6, 2.6  # pixels
PRESSURE_SPREAD = 0.15  # log of the radius along one stroke
SPOT = 0.8  # standard deviation of a Gaussian spot, pixels
RAMP = 0.9, 1.7  # width of the edge from black to white, pixels


def generated_digits(n_train: int = 60_000, n_test: int = 10_000, seed: int = 0) -> Dataset:
    """Draw handwriting-like digits, white on black, of the same kind and size as MNIST's, from nothing but NumPy.

    The same seed gives the same images, and fewer images are the first ones of more. Test images come from other random
    numbers than training images. Classes are drawn at random, about a tenth each.

    Args:
        n_train: Number of training images, at least 1.
        n_test: Number of test images, at least 1.
        seed: Any integer from 0 on.

    Returns:
        The data set `"generated"`: images uint8 (N, 1, 28, 28), labels int64 (N,).

    Raises:
        ValueError: A number of images below 1, or a negative seed.
        TypeError: An argument is not an integer.

    Example:
        >>> digits = generated_digits(n_train=100, n_test=10)
        >>> digits.x_train.shape, digits.y_test.shape
        ((100, 1, 28, 28), (10,))
    """
    for name, value, least in (("n_train", n_train, 1), ("n_test", n_test, 1), ("seed", seed, 0)):
        integer("generated_digits", name, value, least)
    x_train, y_train = _draw_split(n_train, seed, split=0)
    x_test, y_test = _draw_split(n_test, seed, split=1)
    return Dataset("generated", x_train, y_train, x_test, y_test, tuple("0123456789"))


def _draw_split(count: int, seed: int, split: int) -> tuple[Array, Array]:
    """Draw the first `count` images and labels of one split."""
    images = np.empty((count, 1, SIZE, SIZE), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        # A whole chunk is drawn even if only its beginning is wanted: its random numbers must not depend on `count`.
        chunk_images, chunk_labels = _draw_chunk(np.random.default_rng([seed, split, start // CHUNK]))
        images[part, 0] = chunk_images[: part.stop - start]
        labels[part] = chunk_labels[: part.stop - start]
    return images, labels


def _draw_chunk(rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw CHUNK images (CHUNK, 28, 28) and their labels."""
    ways = all_ways(PIECES)
    labels = rng.integers(0, 10, CHUNK)
    way = ways.first[labels] + (rng.random((CHUNK, 1)) > ways.chance[labels]).sum(axis=1)
    points = _bend(rng, ways.points[way] - 50.0, 1.0 + (LOOSE_ENDS - 1.0) * ways.is_end[way])
    points = points @ _stretch_shear_turn(rng)
    spots = ways.place[way] @ points  # (CHUNK, PIECES, 2), x and y
    lengths = np.linalg.norm(ways.step[way] @ points, axis=2, keepdims=True)  # (CHUNK, PIECES, 1)
    radius = _pen_radius(rng)
    spots, lengths = _fit_into_box(spots, lengths, radius)
    return _ink(rng, spots, lengths, radius), labels


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.random(shape, dtype=np.float32)


def _bend(rng: np.random.Generator, points: Array, looseness: Array) -> Array:
    """Move the points (CHUNK, K, 2) as an unsteady hand does; `looseness` (CHUNK, K) is each point's share."""
    count = points.shape[1]
    strength = np.exp(NEATNESS_SPREAD * _normal(rng, CHUNK, 1, 1))
    own = _normal(rng, CHUNK, count + 2, 2)
    move = own[:, 1:-1] + TOGETHER * (own[:, :-2] + own[:, 2:])
    move *= JITTER / math.sqrt(1.0 + 2.0 * TOGETHER**2)  # the root makes the spread JITTER whatever TOGETHER is
    points = points + strength * looseness[:, :, None] * move
    angles = points @ (WAVE_TURNS * _normal(rng, CHUNK, 2, 2)) + 2.0 * math.pi * _uniform(rng, CHUNK, 1, 2)
    return points + WAVE * strength * _normal(rng, CHUNK, 1, 2) * np.sin(angles)


def _stretch_shear_turn(rng: np.random.Generator) -> Array:
    """Return one matrix (2, 2) for each image, to be multiplied from the right to rows x, y."""
    wide = np.exp(ASPECT_SPREAD * _normal(rng, CHUNK))
    slant = SLANT + SLANT_SPREAD * _normal(rng, CHUNK)
    turn = TURN_SPREAD * _normal(rng, CHUNK)
    nought, one, cos, sin = np.zeros_like(wide), np.ones_like(wide), np.cos(turn), np.sin(turn)
    shear = np.stack([wide, nought, -slant, one], axis=-1).reshape(-1, 2, 2)  # y points down: - leans to the right
    rotation = np.stack([cos, sin, -sin, cos], axis=-1).reshape(-1, 2, 2)
    return shear @ rotation


def _pen_radius(rng: np.random.Generator) -> Array:
    """Return the pen's radius along each curve in pixels, (CHUNK, PIECES, 1): one pen an image, pressed unevenly."""
    pen = (RADIUS * np.exp(RADIUS_SPREAD * _normal(rng, CHUNK, 1, 1))).clip(*RADIUS_RANGE)
    along = np.arange(PIECES, dtype=np.float32)[:, None] / PIECES
    turns = 2.0 + 8.0 * _uniform(rng, CHUNK, 1, 1)  # radians over the whole curve
    wave = np.sin(turns * along + 2.0 * math.pi * _uniform(rng, CHUNK, 1, 1))
    return pen * np.exp(PRESSURE_SPREAD * _normal(rng, CHUNK, 1, 1) * wave)


def _fit_into_box(spots: Array, lengths: Array, radius: Array) -> tuple[Array, Array]:
    """Scale each digit, ink included, to BOX and put its centre of mass at CENTRE; units become pixels."""
    extent = (spots.max(axis=1) - spots.min(axis=1)).max(axis=1)[:, None, None]
    scale = (BOX - 2.0 * radius.mean(axis=1, keepdims=True)) / extent
    mass = lengths * radius  # the inked area of a piece, but for a factor
    centre = (spots * mass).sum(axis=1, keepdims=True) / mass.sum(axis=1, keepdims=True)
    return (spots - centre) * scale + CENTRE, lengths * scale


def _ink(rng: np.random.Generator, spots: Array, lengths: Array, radius: Array) -> Array:
    """Draw the strokes: uint8 (CHUNK, 28, 28), from the pieces' middles and lengths and the pen's radius, in pixels.

    Along a straight line, spots with standard deviation s and strength exp(r^2 / 2 s^2) per length add up to
    exp((r^2 - d^2) / 2 s^2) at distance d, so the logarithm of the sum gives d back, and is 0 at the edge of the ink.
    """
    pixels = np.arange(SIZE, dtype=np.float32)
    strength = lengths * np.exp(radius**2 / (2.0 * SPOT**2)) / (SPOT * math.sqrt(2.0 * math.pi))
    across = np.exp((spots[:, :, :1] - pixels) ** 2 / (-2.0 * SPOT**2))  # (CHUNK, PIECES, 28)
    down = np.exp((spots[:, :, 1:] - pixels) ** 2 / (-2.0 * SPOT**2)) * strength
    total = down.transpose(0, 2, 1) @ across  # (CHUNK, 28, 28)
    usual = radius.mean(axis=1, keepdims=True)
    squared_distance = usual**2 - 2.0 * SPOT**2 * np.log(total + 1e-20)  # far from all ink the total may be 0
    distance = np.sqrt(np.maximum(squared_distance, 0.0))
    ramp = RAMP[0] + (RAMP[1] - RAMP[0]) * _uniform(rng, CHUNK, 1, 1)
    return np.rint(255.0 * np.clip(0.5 + (usual - distance) / ramp, 0.0, 1.0)).astype(np.uint8)
