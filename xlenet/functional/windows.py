"""Windows that slide over images: where they lie, and how to copy them into a matrix (img2col) and add them back
(col2img).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from ..backend import Array, batch_first, batch_last, namespace_of, zeros
from ..checks import check_axes, check_numeric, check_shape, integer, pair
from ..workspace import Workspace, new

Pair: TypeAlias = int | tuple[int, int]  # of both directions, or (vertical, horizontal)
# "SAME", "VALID", of all sides, (vertical, horizontal), or ((top, bottom), (left, right))
Padding: TypeAlias = str | int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


class Windows(NamedTuple):
    """Where the windows lie: everything about a convolution or a pooling that does not depend on the numbers in it."""

    kernel: tuple[int, int]  # (KH, KW)
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
    size: tuple[int, int]  # (H, W), without padding
    out: tuple[int, int]  # (OH, OW)
    dilation: tuple[int, int] = (1, 1)  # steps between the pixels that a window sees; 1 where it sees but one

    @property
    def extent(self) -> tuple[int, int]:
        """How far a window reaches, (rows, columns): its kernel, with the gaps that dilation leaves."""
        return _extent(self.kernel, self.dilation)

    @property
    def cover_the_image(self) -> bool:
        """Whether there is a single window, and it is the whole image."""
        return self.kernel == self.size and self.padding == ((0, 0), (0, 0)) and self.dilation == (1, 1)

    @property
    def lie_inside(self) -> bool:
        """Whether no window sees anything but pixels of the image."""
        ends = [(o - 1) * s + e for o, s, e in zip(self.out, self.stride, self.extent, strict=True)]
        return self.padding == ((0, 0), (0, 0)) and ends[0] <= self.size[0] and ends[1] <= self.size[1]

    @property
    def lie_side_by_side(self) -> bool:
        """Whether each window sees pixels of its own, all of them of the image."""
        return self.kernel == self.stride and self.dilation == (1, 1) and self.lie_inside


def windows_over(
    size: tuple[int, int],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = 1,
    *,
    ceil_mode: bool = False,
    operation: str = "windows",
) -> Windows:
    """Work out where windows of `kernel`, `stride`, `padding` and `dilation` lie over an image of `size` (H, W).

    Raises:
        TypeError, ValueError: an argument is no such number, or the window is larger than the padded image.

    Example:
        >>> windows_over((28, 28), 5, 1, "SAME").padding
        ((2, 2), (2, 2))
        >>> windows_over((28, 28), (2, 3), 2, "VALID").out
        (14, 13)
        >>> windows_over((28, 28), 3, 1, "VALID", dilation=4).out
        (20, 20)
    """
    kernel = pair(operation, "kernel", kernel, 1)
    stride = pair(operation, "stride", stride, 1)
    dilation = _resolve_dilation(dilation, kernel, operation)
    extent = _extent(kernel, dilation)
    vertical, horizontal = resolve_padding(padding, size, extent, stride, operation)
    out = (
        out_size(size[0], extent[0], stride[0], vertical, ceil_mode=ceil_mode),
        out_size(size[1], extent[1], stride[1], horizontal, ceil_mode=ceil_mode),
    )
    if min(out) < 1:
        spread = "" if dilation == (1, 1) else f" and dilation {dilation}"
        raise ValueError(
            f"{operation}: got kernel {kernel} over an image of {tuple(size)} with padding {(vertical, horizontal)}"
            f"{spread}; expected the kernel to fit into the padded image; use a smaller kernel or more padding"
        )
    return Windows(kernel, stride, (vertical, horizontal), (size[0], size[1]), out, dilation)


def _resolve_dilation(dilation: Pair, kernel: tuple[int, int], operation: str) -> tuple[int, int]:
    """Return the steps between a window's pixels: 1 where there is but one pixel, whatever was said."""
    vertical, horizontal = pair(operation, "dilation", dilation, 1)
    return vertical if kernel[0] > 1 else 1, horizontal if kernel[1] > 1 else 1


def _extent(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def out_size(size: int, kernel: int, stride: int, padding: tuple[int, int], *, ceil_mode: bool = False) -> int:
    """Return how many windows fit along one axis; `kernel` is how far one reaches.

    With `ceil_mode` a last window may hang over the end, by less than a stride, if it starts inside the image or the
    padding before it. Below 1: not even one fits.

    Example:
        >>> out_size(7, 2, 2, (0, 0)), out_size(7, 2, 2, (0, 0), ceil_mode=True)
        (3, 4)
    """
    room = size + sum(padding) - kernel
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding[0] else count


def resolve_padding(
    padding: Padding,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    operation: str = "padding",
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return any of the ways to say padding as ((top, bottom), (left, right)).

    "SAME" means ceil(size / stride) windows; what is odd goes to the bottom and the right (TensorFlow; ONNX calls it
    SAME_UPPER). `kernel` is how far a window reaches.

    Example:
        >>> resolve_padding("SAME", (5, 6), (2, 4), (1, 2))
        ((0, 1), (1, 1))
        >>> resolve_padding((1, 0), (5, 5), (3, 3), (1, 1))
        ((1, 1), (0, 0))
    """
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(
                f"{operation}: got padding {padding!r}; expected 'SAME', 'VALID', an int, (vertical, horizontal) or "
                "((top, bottom), (left, right)); use one of them"
            )
        same = padding.upper() == "SAME"
        vertical, horizontal = (_same(*axis) if same else (0, 0) for axis in zip(size, kernel, stride, strict=True))
        return vertical, horizontal
    if isinstance(padding, tuple | list) and len(padding) == 2 and all(isinstance(p, tuple | list) for p in padding):
        return pair(operation, "padding", padding[0], 0), pair(operation, "padding", padding[1], 0)
    if isinstance(padding, tuple | list):
        v, h = pair(operation, "padding", padding, 0)
    else:
        v = h = integer(operation, "padding", padding, 0)
    return (v, v), (h, h)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def positions(windows: Windows) -> Iterator[tuple[tuple[int, int], Any, Any]]:
    """Go over the kernel's positions (i, j) in row-major order: which windows see a pixel there, and which pixels they
    see.

    Yields:
        (i, j), an index into (..., OH, OW), an index into (..., H, W): equally many places in both. Windows that see
        padding at (i, j) are left out of the first index.
    """
    (kh, kw), (sh, sw), (vertical, horizontal), (h, w), (oh, ow), (dh, dw) = windows
    columns = [seen_along(j * dw, sw, horizontal[0], w, ow) for j in range(kw)]
    for i in range(kh):
        out_rows, in_rows = seen_along(i * dh, sh, vertical[0], h, oh)
        for j, (out_columns, in_columns) in enumerate(columns):
            yield (i, j), (..., out_rows, out_columns), (..., in_rows, in_columns)


def seen_along(i: int, stride: int, before: int, size: int, count: int) -> tuple[slice, slice]:
    """Along one axis: the windows o whose pixel o * stride - before + i lies in the image, and these pixels."""
    first = max(0, -((i - before) // stride))  # ceil((before - i) / stride)
    last = min(count, (size - 1 + before - i) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride - before + i
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


# ==== img2col: windows into a matrix, and back ====


def img2col(x: Array, kernel: Pair, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1) -> Array:
    """Copy every window of `x` into a row of a matrix, so that a convolution becomes one matrix product. (The field's
    *im2col*.)

    Args:
        x: images (N, C, H, W), of any numeric type.
        kernel: KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal).
        padding: zeros around the image: "SAME", "VALID", int, (vertical, horizontal) or ((top, bottom), (left, right)).
        dilation: step between the pixels that a window sees, or (vertical, horizontal).

    Returns:
        (N*OH*OW, C*KH*KW): a row for each window, image by image and then row-major over the output; a column for each
        number that a window sees, in the order of a weight (F, C, KH, KW) flattened behind its first axis.

    Raises:
        TypeError, ValueError: see `windows_over`.

    Example:
        >>> import numpy as np
        >>> img2col(np.arange(9).reshape(1, 1, 3, 3), kernel=2)
        array([[0, 1, 3, 4],
               [1, 2, 4, 5],
               [3, 4, 6, 7],
               [4, 5, 7, 8]])
    """
    xp = check_numeric("img2col", x=x)
    check_axes("img2col", "(N, C, H, W)", x=x)
    windows = windows_over(x.shape[2:], kernel, stride, padding, dilation, operation="img2col")
    n, c = x.shape[:2]
    matrix = new((n, *windows.out, c, *windows.kernel), like=x, work=None)
    _gather(x, windows, xp.permute_dims(matrix, (3, 4, 5, 0, 1, 2)), None)  # (C, KH, KW, N, OH, OW)
    return xp.reshape(matrix, (n * windows.out[0] * windows.out[1], -1))


def col2img(
    columns: Array,
    x_shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    """Add every row of a matrix back into the window it came from: the adjoint of `img2col`.

    Args:
        columns: (N*OH*OW, C*KH*KW), as `img2col` returns it.
        x_shape: (N, C, H, W) of the images.
        kernel: as in `img2col`.
        stride: as in `img2col`.
        padding: as in `img2col`; what falls into it is dropped.
        dilation: as in `img2col`.

    Returns:
        (N, C, H, W): where windows overlap their numbers are added up, so <img2col(x), m> == <x, col2img(m)>.

    Example:
        >>> import numpy as np
        >>> col2img(np.ones((4, 4)), (1, 1, 3, 3), kernel=2)[0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]])
    """
    xp = check_numeric("col2img", columns=columns)
    if not isinstance(x_shape, tuple | list) or len(x_shape) != 4:
        raise ValueError(
            f"col2img: got x_shape {x_shape!r}; expected (N, C, H, W); pass the shape that img2col's x had"
        )
    n, c, h, w = (integer("col2img", "x_shape", size, 1) for size in x_shape)
    windows = windows_over((h, w), kernel, stride, padding, dilation, operation="col2img")
    rows = n * windows.out[0] * windows.out[1]
    check_shape(
        "col2img",
        "columns",
        columns,
        (rows, c * windows.kernel[0] * windows.kernel[1]),
        f"x_shape {tuple(x_shape)} asks for it",
    )
    matrix = xp.reshape(columns, (n, *windows.out, c, *windows.kernel))
    dx = zeros((n, c, h, w), like=columns)
    _scatter(xp.permute_dims(matrix, (3, 4, 5, 0, 1, 2)), windows, xp.permute_dims(dx, (1, 0, 2, 3)))
    return dx


def unfold(x: Array, windows: Windows, work: Workspace | None) -> Array:
    """Copy every window of `x` into a column: `img2col` transposed and with the batch innermost, (C*KH*KW, OH*OW*N).

    This is the lowering that `conv2d` uses: each of its KH*KW copies moves runs of N numbers, and the product with a
    weight needs no transposition on either side. A window as large as the image needs no copy: a view of `x`, where it
    lies batch-last.
    """
    xp = namespace_of(x)
    n, c = x.shape[:2]
    if windows.cover_the_image:
        return xp.reshape(batch_last(x), (-1, n))
    columns = new((c, *windows.kernel, *windows.out, n), like=x, work=work)
    _gather(x, windows, xp.permute_dims(columns, (0, 1, 2, 5, 3, 4)), work)
    return xp.reshape(columns, (c * windows.kernel[0] * windows.kernel[1], -1))


def fold(columns: Array, x_shape: tuple[int, ...], windows: Windows, work: Workspace | None) -> Array:
    """Add every column back into the window it came from: the adjoint of `unfold`, as `col2img` is of `img2col`."""
    xp = namespace_of(columns)
    n, c, h, w = x_shape
    if windows.cover_the_image:
        return batch_first(xp.reshape(columns, (c, h, w, n)))
    columns = xp.reshape(columns, (c, *windows.kernel, *windows.out, n))
    dx = new((c, h, w, n), like=columns, work=work)
    dx[...] = 0
    _scatter(xp.permute_dims(columns, (0, 1, 2, 5, 3, 4)), windows, xp.permute_dims(dx, (0, 3, 1, 2)))
    return batch_first(dx)


def _gather(x: Array, windows: Windows, columns: Array, work: Workspace | None) -> None:
    """Fill `columns` (C, KH, KW, N, OH, OW), a view in any memory order, from `x` (N, C, H, W)."""
    x = namespace_of(x).permute_dims(pad(x, windows.padding, work), (1, 0, 2, 3))
    unpadded = windows._replace(padding=((0, 0), (0, 0)), size=x.shape[2:])
    for (i, j), _, pixels in positions(unpadded):
        columns[:, i, j, ...] = x[pixels]


def _scatter(columns: Array, windows: Windows, dx: Array) -> None:
    """Add `columns` (C, KH, KW, N, OH, OW) into `dx` (C, N, H, W)."""
    for (i, j), seen, pixels in positions(windows):
        target = dx[pixels]
        target += columns[:, i, j, ...][seen]


def pad(x: Array, padding: tuple[tuple[int, int], tuple[int, int]], work: Workspace | None) -> Array:
    """Put zeros around the images of `x`; without padding return `x` itself."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, c, h, w = x.shape
    padded = new((c, top + h + bottom, left + w + right, n), like=x, work=work)
    padded[...] = 0
    padded[:, top : top + h, left : left + w, :] = batch_last(x)
    return batch_first(padded)
