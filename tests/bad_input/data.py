"""Wrong arguments where data enter, and for pictures of them."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np

from tests.bad_input.layers import dtypes
from tests.bad_input.table import (
    FOLDER,
    INF,
    NAN,
    Call,
    Row,
    Table,
    another,
    bad,
    empty_along,
    made,
    no_arrays,
    numbers,
    numpy_types,
    whole_numbers,
    wrong_ranks,
    wrong_types,
)
from tests.bad_input.training import images, paths
from tests.libraries import Lib, open_library
from tests.networks import on
from xlenet import data, plotting
from xlenet.data import Examples, Images, Normalization
from xlenet.data.handwriting import NoDigitError
from xlenet.data.registry import MNIST
from xlenet.errors import DataError, DataNotFoundError

TABLE = Table()

# ==== images ====


def on_a_device(lib: Lib, good: Any) -> Any:
    return open_library("array_api_strict").asarray(good)


PIXELS = np.arange(32, dtype=np.uint8).reshape(4, 1, 2, 4)
WITH_NAN = np.where(PIXELS == 3, np.float32(NAN), PIXELS)

call = Call(
    Images,
    "Images",
    lambda lib: {
        "x": PIXELS,
        "y": np.array([0, 1, 2, 1]),
        "normalization": Normalization((3.0,), (2.0,)),
        "dtype": "float32",
    },
    positional=(),
)
TABLE.add(
    call,
    [
        bad(call, "x", v, TypeError, got, "uint8", came=came)
        for came, v, got in [
            ("None", None, "object"),
            ("text", "pixels", "<U6"),
            ("a list", PIXELS.tolist(), "int64"),
            ("float32", PIXELS.astype("float32"), "x float32 and"),
            ("float32 with NaN", WITH_NAN, "x float32 with NaN"),
            ("float64 with NaN", WITH_NAN.astype("float64"), "x float64 with NaN"),
            ("complex with NaN", WITH_NAN.astype("complex64"), "x complex64 with NaN"),
            ("bool", PIXELS > 3, "bool"),
            ("int64", PIXELS.astype("int64"), "int64"),
            ("objects", PIXELS.astype(object), "object"),
        ]
    ],
    bad(call, "x", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    bad(call, "x", [[1, 2], [3]], TypeError, "list", "on the host", came="ragged"),
    [
        bad(call, "x", np.zeros(shape, np.uint8), ValueError, f"x {shape}", "(N, C, H, W)", came=f"{shape}")
        for shape in [
            (),
            (4,),
            (4, 2, 4),
            (4, 1, 2, 4, 1),
            (0, 1, 2, 4),
            (4, 0, 2, 4),
            (4, 1, 0, 4),
            (4, 1, 2, 0),
            (3, 1, 2, 4),
        ]
    ],
    bad(call, "x", np.zeros((4, 3, 2, 4), np.uint8), ValueError, "3 channels", "for each", named="normalization"),
    [
        bad(call, "y", v, TypeError, got, "integers", came=came)
        for came, v, got in [
            ("None", None, "object"),
            ("text", "0121", "<U4"),
            ("float", [0.0, 1.0, 2.0, 1.0], "y float64"),
            ("NaN", [0.0, 1.0, NAN, 1.0], "y float64 with NaN"),
            ("bool", [False, True, False, True], "bool"),
            ("one-hot", np.eye(4), "float64"),
        ]
    ],
    bad(call, "y", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [
        bad(call, "y", np.zeros(shape, int), ValueError, f"y {shape}", "(N,)", came=f"{shape}")
        for shape in [(), (3,), (5,), (4, 1), (4, 4), (0,)]
    ],
    bad(call, "y", [0, 1, -1, 1], ValueError, "a label -1", "0 or more", named=""),
    [
        bad(call, "normalization", v, TypeError, repr(v), "a Normalization")
        for v in (3, "mean", (1.0, 2.0), ((1.0,), (2.0,), (3.0,)), (("a",), (1.0,)), ((None,), (1.0,)), ((1j,), (1.0,)))
    ],
    [
        bad(call, "normalization", v, ValueError, "for 1 channels", "finite mean")
        for v in (
            Normalization((NAN,), (1.0,)),
            Normalization((INF,), (1.0,)),
            Normalization((1.0,), (NAN,)),
            Normalization((1.0,), (INF,)),
            Normalization((1.0,), (0.0,)),
            Normalization((1.0,), (-1.0,)),
            Normalization((), ()),
            Normalization((1.0, 1.0), (1.0, 1.0)),
            Normalization((1.0,), (1.0, 1.0)),
        )
    ],
    dtypes(call),
)


def positions(*values: Any, dtype: str = "int64") -> made:
    return made(f"{values} {dtype}", lambda lib, good: lib.asarray(np.array(values), dtype))


call = Call(
    Images.batch,
    "Images",
    lambda lib: {"self": images(4, 1, 2, 2), "which": lib.asarray(np.array([0, 3]), "int64")},
)
TABLE.add(
    call,
    no_arrays(call, "which"),
    bad(call, "which", made("another library", lambda lib, good: another(lib).asarray([0])), TypeError, "numpy",
        "one library"),
    [bad(call, "which", positions(0, 1, dtype=t), TypeError, t, "int64") for t in ("float32", "bool", "uint8")],
    bad(call, "which", made("no axes", lambda lib, good: lib.asarray(np.array(1), "int64")), TypeError, "()", "(N,)"),
    bad(call, "which", made("two axes", lambda lib, good: lib.asarray([[1]], "int64")), TypeError, "(1, 1)", "(N,)"),
    bad(call, "which", positions(), TypeError, "(0,)", "at least one"),
    bad(call, "which", positions(0, 4), ValueError, "beyond 4 images", "0 to 3", unnoticed_on=("cupy",)),
    [bad(call, "which", s, ValueError, repr(s), "at least one") for s in (slice(2, 2), slice(4, 9), slice(3, 1))],
    [bad(call, "which", s, TypeError, repr(s), "whole numbers") for s in (slice(0.5, 2), slice("0", "2"))],
)  # fmt: skip

ROWS = np.linspace(0.0, 1.0, 12).reshape(4, 3)

call = Call(
    Examples,
    "Examples",
    lambda lib: {"x": ROWS, "y": np.array([0, 1, 2, 1]), "dtype": "float32"},
    positional=(),
)
TABLE.add(
    call,
    [
        bad(call, "x", v, TypeError, got, "floating point", came=came)
        for came, v, got in [
            ("None", None, "object"),
            ("text", "rows", "<U4"),
            ("a list of ints", [[1], [2], [3], [4]], "int64"),
            ("uint8", PIXELS, "uint8"),
            ("bool", ROWS > 0.5, "bool"),
            ("complex", ROWS + 0j, "complex128"),
        ]
    ],
    bad(call, "x", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    bad(call, "x", [[1.0, 2.0], [3.0]], TypeError, "list", "on the host", came="ragged"),
    [
        bad(call, "x", np.zeros(shape), ValueError, f"x {shape}", "(N, ...)", came=f"{shape}")
        for shape in [(), (4,), (0, 3), (4, 0), (3, 3)]
    ],
    [
        bad(call, "x", np.where(ROWS == 0.0, v, ROWS), ValueError, "not finite", "finite", came=f"{v}")
        for v in (NAN, INF)
    ],
    bad(call, "x", 1e300 * ROWS, ValueError, "not finite as float32", "finite", came="too large for float32"),
    [
        bad(call, "y", v, TypeError, got, "integers", came=came)
        for came, v, got in [
            ("None", None, "object"),
            ("text", "0121", "<U4"),
            ("float", [0.0, 1.0, 2.0, 1.0], "y float64"),
            ("bool", [False, True, False, True], "bool"),
        ]
    ],
    [
        bad(call, "y", np.zeros(shape, int), ValueError, f"y {shape}", "(N,)", came=f"{shape}")
        for shape in [(), (3,), (5,), (4, 1), (0,)]
    ],
    bad(call, "y", [0, 1, -1, 1], ValueError, "a label -1", "0 or more", named=""),
    dtypes(call, may_be_none=True),
)


def _examples(lib: Lib) -> dict[str, Any]:
    with on(lib):
        return {"self": Examples(ROWS, np.array([0, 1, 2, 1])), "which": lib.asarray(np.array([0, 3]), "int64")}


call = Call(Examples.batch, "Examples", _examples)
TABLE.add(
    call,
    no_arrays(call, "which"),
    [bad(call, "which", positions(0, 1, dtype=t), TypeError, t, "int64") for t in ("float32", "bool", "uint8")],
    bad(call, "which", positions(), TypeError, "(0,)", "at least one"),
    bad(call, "which", positions(0, 4), ValueError, "beyond 4 examples", "0 to 3", unnoticed_on=("cupy",)),
    [bad(call, "which", s, ValueError, repr(s), "at least one") for s in (slice(2, 2), slice(4, 9))],
    bad(call, "which", slice(0.5, 2), TypeError, "slice(0.5", "whole numbers"),
)

# ==== augmentation ====

call = Call(
    data.Augmentation,
    "Augmentation",
    lambda lib: {"rotation": 10, "shift": 1.5, "scale": 0.1, "shear": 5, "elastic": 1.0, "plain_epochs": 1},
    arrays=False,
)
TABLE.add(
    call,
    numbers(call, "rotation", -1.0, 180.1),
    numbers(call, "shift", -0.1, 1e6),
    numbers(call, "scale", -0.1, 1.0, 1.5),
    numbers(call, "shear", -1.0, 90.0),
    numbers(call, "elastic", -1.0, 1e6),
    whole_numbers(call, "plain_epochs", -1),
)

call = Call(
    data.augment,
    "augment",
    lambda lib: {
        "x": lib.asarray(np.linspace(0, 1, 40).reshape(2, 1, 4, 5)),
        "augmentation": data.Augmentation(rotation=10),
        "seed": 0,
        "step": 3,
    },
    positional=(),
)
TABLE.add(
    call,
    no_arrays(call, "x"),
    wrong_types(call, "x"),
    numpy_types(call, "x"),
    empty_along(call, "x", 4),
    wrong_ranks(call, "x", "(N, C, H, W)", (), (4,), (4, 5), (1, 4, 5), (2, 1, 4, 5, 1)),
    [
        bad(call, "augmentation", v, TypeError, (), "an xlenet.data.Augmentation")
        for v in (None, 0, 1.5, "elastic", {"shift": 1.0}, (10.0, 1.0), data.Augmentation)
    ],
    whole_numbers(call, "seed", -1),
    whole_numbers(call, "step", -1),
)

# ==== data sets ====


def _loading(lib: Lib) -> dict[str, Any]:
    path = FOLDER / "mine.npz"
    np.savez(path, x_train=np.zeros((9, 28, 28), np.uint8), y_train=np.arange(9) % 3)
    return {"name": path, "data_dir": None, "image_size": None, "note": None}


call = Call(data.load, "load", _loading, arrays=False)
TABLE.add(
    call,
    paths(call, "name"),
    [
        bad(call, "name", v, DataNotFoundError, repr(v), "mnist", named="")
        for v in ("mnits", "", "MNIST", "a\0b", "x/y")
    ],
    whole_numbers(call, "image_size", 0, -1, may_be_none=True),
    [bad(call, "note", v, TypeError, repr(v), "a function") for v in (3, "print", [])],
)

call = Call(
    data.load_mnist,
    "load_mnist",
    lambda lib: {"data_dir": None, "source": MNIST, "mirrors": [], "timeout": 4.0, "progress": None},
    arrays=False,
    dear=True,  # its files are not here
)
TABLE.add(
    call,
    [bad(call, "data_dir", v, TypeError, repr(v), "a path") for v in (3, 1.5, ["data"])],
    [bad(call, "source", v, TypeError, (), "a Source") for v in (None, "mnist", 3)],
    [bad(call, "mirrors", v, TypeError, repr(v), "a list of texts") for v in (3, "https://a.b/", [3], [None])],
    [
        bad(call, "mirrors", [v], ValueError, f"the mirror {v!r}", "https addresses", named="", says="load mnist")
        for v in ("ftp://a.b/", "", "http://a.b/")
    ],
    numbers(call, "timeout", 0.0, -1.0),
    [bad(call, "progress", v, TypeError, repr(v), "a function") for v in (3, "bar", [])],
)

SHEET = np.full((9, 9), 255, np.uint8)
SHEET[2:7, 4] = 0
call = Call(data.as_mnist, "as_mnist", lambda lib: {"picture": SHEET}, arrays=False, positional=())
TABLE.add(
    call,
    [
        bad(call, "picture", v, TypeError, got, "uint8", came=came)
        for came, v, got in [
            ("None", None, "object"),
            ("text", "picture", "<U7"),
            ("a list", SHEET.tolist(), "int64"),
            ("float32", SHEET.astype("float32"), "float32"),
            ("bool", SHEET > 3, "bool"),
        ]
    ],
    bad(call, "picture", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [
        bad(call, "picture", np.zeros(shape, np.uint8), ValueError, f"shape {shape}", "(H, W, 3)", came=f"{shape}")
        for shape in [(), (9,), (0, 9), (9, 0), (9, 9, 1), (9, 9, 2), (9, 9, 5), (1, 9, 9, 3)]
    ],
    bad(call, "picture", np.zeros((1, 900), np.uint8), DataError, "900 x 1", "800 times", came="a line"),
    bad(call, "picture", np.zeros((9, 9), np.uint8), NoDigitError, "nothing stands out", "a digit", came="no digit"),
)
call = Call(data.generated_digits, "generated_digits", lambda lib: {"n_train": 2, "n_test": 1, "seed": 0}, arrays=False)
TABLE.add(
    call, whole_numbers(call, "n_train", 0, -1), whole_numbers(call, "n_test", 0, -1), whole_numbers(call, "seed", -1)
)
call = Call(data.hold_out, "hold_out", lambda lib: {"count": 10, "held": 3}, arrays=False)
TABLE.add(
    call,
    whole_numbers(call, "count", 0, -1),
    whole_numbers(call, "held", -1),
    [bad(call, "held", v, ValueError, f"held {v} of 10 images", "fewer") for v in (10, 11)],
    bad(call, "count", 3, ValueError, "3 images", "fewer", named="held"),
)
_IDX = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])


def _idx_file(lib: Lib) -> dict[str, Any]:
    path = FOLDER / "labels.gz"
    path.write_bytes(gzip.compress(_IDX))
    return {"path": path, "max_bytes": 100}


call = Call(data.read_idx, "read_idx", _idx_file, arrays=False)
TABLE.add(call, paths(call), whole_numbers(call, "max_bytes", -1))
call = Call(data.parse_idx, "parse_idx", lambda lib: {"data": _IDX}, arrays=False)
TABLE.add(
    call,
    [bad(call, "data", v, TypeError, (), "bytes") for v in (None, 3, "text", [0, 0, 8, 1], np.zeros(4))],
    [bad(call, "data", v, DataError, (), (), named="") for v in (b"", _IDX[:7], _IDX[:-1], _IDX + b"0", bytes(32))],
)

# ==== pictures ====


def of_shapes(call: Call, argument: str, expected: str, *shapes: tuple[int, ...]) -> list[Row]:
    """Rows for arrays of other shapes."""
    return [bad(call, argument, np.ones(s), ValueError, str(s), expected, came=str(s)) for s in shapes]


EPOCH = {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "test_accuracy": 0.8}
call = Call(
    plotting.plot_curves,
    "plot_curves",
    lambda lib: {"history": [EPOCH], "path": FOLDER / "curves.png", "title": "LeNet-5"},
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [bad(call, "history", v, ValueError, "no epoch", "at least one", named="") for v in (None, [], ())],
    [bad(call, "history", v, TypeError, (), "one mapping") for v in (3, "epochs", [3], [None], EPOCH)],
    bad(
        call, "history", [{"epoch": 1}], ValueError, ("test_accuracy", "train_loss"), "test_accuracy", named="an epoch"
    ),
    [
        bad(call, "history", [EPOCH | {"test_loss": v}], TypeError, ("test_loss", repr(v)), "a number", named="")
        for v in (None, "0.5", 1j, [0.5])
    ],
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
call = Call(
    plotting.plot_confusion,
    "plot_confusion",
    lambda lib: {
        "matrix": np.array([[3, 1], [0, 2]]),
        "class_names": ("no", "yes"),
        "path": FOLDER / "confusion.png",
        "title": "Confusion matrix",
    },
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [
        bad(call, "matrix", v, ValueError, (), "counts (C, C)", came=came)
        for came, v in [
            ("None", None),
            ("text", "ab"),
            ("a number", 3),
            ("not square", [[1, 2]]),
            ("nothing", np.zeros((0, 0), int)),
            ("shares", np.eye(2)),
            ("NaN", np.full((2, 2), NAN)),
            ("negative", [[1, -1], [0, 1]]),
            ("three axes", np.zeros((2, 2, 2), int)),
        ]
    ],
    bad(call, "matrix", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [bad(call, "class_names", v, TypeError, repr(v), "texts") for v in (None, 3, "01", (0, 1), ("no", None))],
    [
        bad(call, "class_names", v, ValueError, f"{len(v)} class names", "one name each", named="")
        for v in ((), ("no",))
    ],
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
call = Call(
    plotting.plot_digits,
    "plot_digits",
    lambda lib: {"images": np.ones((2, 3, 3)), "titles": ("a", ""), "path": FOLDER / "digits.png"},
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [
        bad(call, "images", v, ValueError, "of shape", "(N, H, W)", came=came)
        for came, v in [
            ("None", None),
            ("one image", np.ones((3, 3))),
            ("two channels", np.ones((2, 2, 3, 3))),
            ("none", np.ones((0, 3, 3))),
            ("no pixels", np.ones((2, 3, 0))),
        ]
    ],
    [
        bad(call, "images", np.ones((2, 3, 3)).astype(t), TypeError, t, "uint8 or floating", came=t)
        for t in ("complex128", "object", "<U3")
    ],
    bad(call, "images", np.full((2, 3, 3), NAN), ValueError, "not finite", "finite", came="NaN"),
    bad(call, "images", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [bad(call, "titles", v, TypeError, repr(v), "texts") for v in (None, 3, "ab", (1, 2), ("a", None))],
    [bad(call, "titles", v, ValueError, f"{len(v)} titles", "N titles", named="") for v in ((), ("a",))],
    paths(call),
)
call = Call(
    plotting.plot_comparison,
    "plot_comparison",
    lambda lib: {
        "histories": {"a": [EPOCH], "b": [EPOCH]}, "path": FOLDER / "compared.png", "title": "two", "notes": {"a": "b"},
    },
    arrays=False,
    dear=True,
)  # fmt: skip
TABLE.add(
    call,
    [bad(call, "histories", v, TypeError, (), "a mapping") for v in (None, 3, "runs", [[EPOCH], [EPOCH]])],
    [bad(call, "histories", v, ValueError, f"{len(v)} histories", "2 to 6", named="") for v in ({}, {"a": [EPOCH]})],
    bad(call, "histories", {"a": [EPOCH], "b": []}, ValueError, "no epoch", "at least one", named=""),
    bad(call, "histories", {"a": [EPOCH], "b": 3}, TypeError, "3", "one mapping", named="history"),
    [bad(call, "notes", v, TypeError, (), "a mapping") for v in (3, "text", ["a"])],
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
call = Call(
    plotting.plot_filters,
    "plot_filters",
    lambda lib: {"weight": np.ones((2, 1, 3, 3)), "path": FOLDER / "filters.png", "title": "conv1"},
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [bad(call, "weight", v, TypeError, (), "floating", came=repr(v)) for v in (None, "text", [[1, 2]])],
    [
        bad(call, "weight", np.ones(s), ValueError, str(s), "(F, C, KH, KW)", came=str(s))
        for s in ((), (3, 3), (0, 1, 3, 3))
    ],
    [
        bad(call, "weight", np.full((1, 1, 2, 2), v), ValueError, "not finite", "finite", came=str(v))
        for v in (NAN, INF)
    ],
    bad(call, "weight", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
call = Call(
    plotting.plot_features,
    "plot_features",
    lambda lib: {
        "image": np.ones((1, 3, 3)),
        "layers": {"conv1": np.ones((2, 3, 3))},
        "probabilities": np.array([0.3, 0.7]),
        "class_names": ("no", "yes"),
        "path": FOLDER / "features.png",
        "title": "an image",
        "label": 1,
    },
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [bad(call, "image", v, TypeError, (), "uint8 or floating", came=repr(v)) for v in (None, "text", [[1, 2]])],
    [
        bad(call, "image", np.ones(s), ValueError, str(s), "(C, H, W)", came=str(s))
        for s in ((3, 3), (1, 1, 3, 3), (1, 0, 3))
    ],
    bad(call, "image", np.full((1, 3, 3), NAN), ValueError, "not finite", "finite", came="NaN"),
    bad(call, "image", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [bad(call, "layers", v, TypeError, (), "a mapping") for v in (None, 3, [np.ones(3)])],
    bad(call, "layers", {"a": None}, TypeError, "'a'", "numbers", came="no array"),
    [
        bad(call, "layers", {"a": np.ones(s)}, ValueError, str(s), "(C, H, W) or (K,)", came=str(s))
        for s in ((), (2, 2), (0,))
    ],
    bad(call, "layers", {"a": np.full(3, NAN)}, ValueError, "(3,)", "finite", came="NaN"),
    [
        bad(call, "probabilities", v, ValueError, "for 2 class names", "one for each", came=repr(v))
        for v in (None, 3, np.ones(3) / 3, np.array([0, 1]))
    ],
    [
        bad(call, "probabilities", np.array(v), ValueError, (), "shares of 1", came=repr(v))
        for v in ([3.0, 1.0], [NAN, 1.0])
    ],
    [bad(call, "class_names", v, TypeError, repr(v), "texts") for v in (None, 3, "01", (0, 1))],
    bad(call, "class_names", ("no",), ValueError, "1 class names", "one for each", named=""),
    [bad(call, "label", v, ValueError, repr(v), "from 0 to 1") for v in (-1, 2, "yes", 0.5)],
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
call = Call(
    plotting.plot_mistakes,
    "plot_mistakes",
    lambda lib: {
        "images": np.ones((2, 1, 3, 3)),
        "labels": np.array([0, 1]),
        "probabilities": np.array([[0.3, 0.7], [0.6, 0.4]]),
        "class_names": ("no", "yes"),
        "path": FOLDER / "mistakes.png",
        "title": "mistakes",
        "most": 30,
    },
    arrays=False,
    dear=True,
)
TABLE.add(
    call,
    [bad(call, "images", v, TypeError, (), "uint8 or floating", came=repr(v)) for v in (None, "text", [[1, 2]])],
    [
        bad(call, "images", np.ones(s), ValueError, str(s), "(N, C, H, W)", came=str(s))
        for s in ((2, 3, 3), (0, 1, 3, 3))
    ],
    bad(call, "images", np.full((2, 1, 3, 3), NAN), ValueError, "not finite", "finite", came="NaN"),
    bad(call, "images", made("on a device", on_a_device), TypeError, "array_api_strict", "on the host"),
    [
        bad(call, "labels", v, ValueError, "for 2 images", "integers", came=repr(v))
        for v in (None, 3, [0], [0, 2], [-1, 0], [0.0, 1.0])
    ],
    [
        bad(call, "probabilities", v, ValueError, "for 2 images and 2 class names", "(N, K)", came=repr(v))
        for v in (None, np.ones((2, 3)), np.ones(2), np.ones((2, 2), int), np.full((2, 2), NAN))
    ],
    [bad(call, "class_names", v, TypeError, repr(v), "texts") for v in (None, 3, "01", (0, 1))],
    bad(call, "class_names", ("no",), ValueError, "1 class names", "(N, K)", named=""),
    whole_numbers(call, "most", 0),
    paths(call),
    [bad(call, "title", v, TypeError, repr(v), "a text") for v in (None, 3, ["a"])],
)
