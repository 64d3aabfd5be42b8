"""Data sets in host memory: MNIST, Fashion-MNIST, digits that the package draws itself, and a user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..checks import check_callable, check_path, integer
from .augmentation import Augmentation, augment
from .dataset import Dataset, hold_out
from .examples import Examples, Labelled
from .generated import generated_digits
from .handwriting import as_mnist
from .idx import parse_idx, read_idx
from .images import Images, Normalization
from .location import default_data_dir
from .mnist import load_mnist
from .registry import SOURCES

if TYPE_CHECKING:
    from .download import Progress

__all__ = [
    "Augmentation",
    "Dataset",
    "Examples",
    "Images",
    "Labelled",
    "Normalization",
    "as_mnist",
    "augment",
    "default_data_dir",
    "generated_digits",
    "hold_out",
    "load",
    "load_mnist",
    "parse_idx",
    "read_idx",
]


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 4.0,
    progress: Progress | None = None,
    image_size: int | None = None,
    note: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the data set `name`, or the one that lies at the path `name`.

    A path leads to a ``.npz`` file with x_train, y_train, x_test and y_test; to a folder with a folder of images for
    each class, perhaps below ``train/`` and ``test/``; or to IDX files, where torchvision or Keras has put them, or
    anybody's own. Where there is no test part, a fifth of each class is held out as one. docs/data.md has the rules.

    Args:
        name: ``mnist``, ``fashion-mnist`` or ``generated``, or a path. ``generated`` needs no file, and neither it nor
            a path any of `data_dir`, `mirrors`, `timeout` and `progress`.
        data_dir: folder of the files of ``mnist`` and ``fashion-mnist``; None is `default_data_dir`.
        mirrors: addresses to download from, as for `load_mnist`.
        timeout: seconds after which a silent mirror is given up.
        progress: called while downloading, as for `load_mnist`.
        image_size: side, in pixels, to which the images at a path are scaled; None: images of 28 x 28 or 32 x 32 stay
            as they are, all others become what is nearer.
        note: called with a line on what was held out, left out or scaled.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: `image_size` is below 1.
        DataNotFoundError: there is no data set of that name or at that path, or its files are not reachable.
        DataError: a file is damaged, or no data set.
        MissingExtraError: images are to be decoded or scaled, and Pillow is not installed.
        OutputError: a downloaded file cannot be saved.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x, y = np.zeros((10, 28, 28), np.uint8), np.repeat(["cat", "dog"], 5)
        ...     np.savez(folder + "/pets.npz", x_train=x, y_train=y)
        ...     pets = load(folder + "/pets.npz", note=print)
        no test part here: 2 of 10 images, a fifth of each class, are held out as one, always the same
        >>> pets.name, pets.x_train.shape, pets.class_names
        ('pets.npz', (8, 1, 28, 28), ('cat', 'dog'))
    """
    check_path("load", name, "name")
    if image_size is not None:
        image_size = integer("load", "image_size", image_size, 1)
    if note is not None:
        check_callable("load", "note", note)
    if name == "generated":
        return generated_digits()
    if isinstance(name, str) and name in SOURCES:
        return load_mnist(data_dir, source=SOURCES[name], mirrors=mirrors, timeout=timeout, progress=progress)
    from .own import load_path  # with all its readers, when it is needed

    return load_path(name, image_size, note or _nobody)


def _nobody(line: str) -> None:
    """Hear a note that nobody asked for."""
