"""How fast could it be? Operations and bytes of each part of a LeNet-5 training step, and what a GPU can do at most.

Counted is what has to be done: each multiplication and addition of the convolutions and products, each input read once,
each result written once, in float32. Only a window's winner has a gradient behind a 2x2 pool: a quarter of the
convolution's operations are left in its backward pass. No program is faster than the larger of operations over
arithmetic rate and bytes over memory rate; where all fits into a GPU's cache, the bytes may come quicker than that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

PARAMETERS = 61_750
OPTIONAL = frozenset({"distort"})  # parts of a step that only some runs have
_FLOAT = 4


class Work(NamedTuple):
    """What an operation has to do."""

    flops: float
    bytes: float

    def seconds(self, peaks: Peaks) -> float:
        """Return the least time in which that can be done."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bytes)


class Peaks(NamedTuple):
    """What a GPU can do at most, in a second, and where that is known from."""

    flops: float
    bytes: float
    source: str


class Conv(NamedTuple):
    """A convolution with the pool behind it (1: none)."""

    channels: int
    size: int
    filters: int
    kernel: int
    out: int
    pool: int

    def forward(self, n: int) -> Work:
        """Return the work of the forward pass; the winners of the pool are written as bytes."""
        pooled = self.filters * (self.out // self.pool) ** 2
        winners = pooled if self.pool > 1 else 0
        return Work(2 * n * self._macs, _FLOAT * (n * (self._pixels + pooled) + self._weights) + n * winners)

    def backward(self, n: int, *, need_dx: bool) -> Work:
        """Return the work of the backward pass."""
        pooled = self.filters * (self.out // self.pool) ** 2
        winners = pooled if self.pool > 1 else 0
        passes = 2 if need_dx else 1
        numbers = n * (pooled + passes * self._pixels) + passes * self._weights
        return Work(2 * n * passes * self._macs / self.pool**2, _FLOAT * numbers + n * winners)

    @property
    def _pixels(self) -> int:
        return self.channels * self.size**2

    @property
    def _weights(self) -> int:
        return self.filters * (self.channels * self.kernel**2 + 1)

    @property
    def _macs(self) -> int:
        return self.filters * self.out**2 * self.channels * self.kernel**2


CONV1, CONV2 = Conv(1, 28, 6, 5, 28, 2), Conv(6, 14, 16, 5, 10, 2)
CONV3 = Conv(16, 5, 120, 5, 1, 1)


def step(n: int) -> dict[str, Work]:
    """Return the parts of a training step on `n` images, in their order, by the names that `bench.gpu_kernels` has.

    Example:
        >>> of_all = [work.flops for name, work in step(64).items() if name not in OPTIONAL]
        >>> round(sum(of_all) / 64 / 1e6, 2)                                         # MFLOP for an image
        1.4
    """
    return {
        "gather": Work(2 * n * 784, n * 784 * (1 + _FLOAT)),
        "distort": _distort(n, 28),
        "conv1_pool": CONV1.forward(n),
        "bn1_relu": _batchnorm(n * 6 * 14 * 14, reads=1),
        "conv2_pool": CONV2.forward(n),
        "bn2_relu": _batchnorm(n * 16 * 5 * 5, reads=1),
        "conv3": CONV3.forward(n),
        "fc4_relu": _linear(n, 120, 84, passes=1),
        "fc5": _linear(n, 84, 10, passes=1),
        "loss": Work(40 * n, _FLOAT * 2 * n * 10 + 8 * n),
        "fc5_backward": _linear(n, 84, 10, passes=2),
        "fc4_relu_backward": _linear(n, 120, 84, passes=2),
        "conv3_backward": CONV3.backward(n, need_dx=True),
        "bn2_relu_backward": _batchnorm(n * 16 * 5 * 5, reads=2),
        "conv2_pool_backward": CONV2.backward(n, need_dx=True),
        "bn1_relu_backward": _batchnorm(n * 6 * 14 * 14, reads=2),
        "conv1_pool_backward": CONV1.backward(n, need_dx=False),
        "sgd": Work(6 * PARAMETERS, _FLOAT * 5 * PARAMETERS),
        "tally": Work(20 * n, _FLOAT * n * 10 + 8 * n),
        "advance": Work(n, 2 * 8 * n),
    }


def _distort(n: int, size: int) -> Work:
    """Two coordinates, each of four control points, for the net's 7 columns in each row and then for each pixel; and
    each pixel of four, which is three steps of a + u * (b - a), and two shares u.
    """
    places, pixels = 2 * 4 * 2 * (7 * size + size**2), (3 * 3 + 2) * size**2
    return Work(n * (places + pixels), _FLOAT * 2 * n * size**2)


def _batchnorm(numbers: int, reads: int) -> Work:
    return Work(8 * numbers, _FLOAT * (reads + 1) * numbers)


def _linear(n: int, inputs: int, outputs: int, passes: int) -> Work:
    numbers = n * (inputs * passes + outputs) + passes * outputs * (inputs + 1)
    return Work(2 * n * passes * inputs * outputs, _FLOAT * numbers)


# ==== what a GPU can do ====

# Float32 lanes of a multiprocessor, by compute capability.
_LANES = {(7, 0): 64, (7, 5): 64, (8, 0): 64, (6, 0): 64}
_USUAL_LANES = 128

# By the vendors' data sheets (TFLOP/s float32 without matrix units, TB/s), where the driver does not tell.
_KNOWN = {
    "H200": (67.0, 4.8), "GH200": (67.0, 4.9), "H100": (67.0, 3.35), "A100": (19.5, 2.0), "B200": (75.0, 8.0),
    "L40S": (91.6, 0.864), "L4": (30.3, 0.3), "T4": (8.1, 0.32), "V100": (15.7, 0.9), "A10": (31.2, 0.6),
    "RTX 4090": (82.6, 1.008), "RTX 3090": (35.6, 0.936),
}  # fmt: skip


def peaks_of(runtime: Any, device: int = 0) -> Peaks:
    """Return what the GPU can do, by what CUDA's runtime says of its clocks, or else by its data sheet."""
    properties = runtime.getDeviceProperties(device)
    name, capability = properties["name"].decode(), (properties["major"], properties["minor"])
    known = max((key for key in _KNOWN if key in name), key=len, default=None)

    def ask(attribute: str) -> int:
        return int(runtime.deviceGetAttribute(getattr(runtime, attribute), device))

    try:
        clock, memory_clock = 1e3 * ask("cudaDevAttrClockRate"), 1e3 * ask("cudaDevAttrMemoryClockRate")
        processors, bus = ask("cudaDevAttrMultiProcessorCount"), ask("cudaDevAttrGlobalMemoryBusWidth")
    except Exception:  # an attribute that this driver does not know any more
        clock = memory_clock = 0.0
        processors = bus = 0
    flops = 2.0 * processors * _LANES.get(capability, _USUAL_LANES) * clock
    speed = 2.0 * memory_clock * bus / 8
    if flops > 0 and speed > 0:
        return Peaks(flops, speed, f"clocks of {name} as the driver tells them")
    if known is None:
        raise ValueError(f"peaks: got {name}, whose clocks the driver does not tell; expected one of {list(_KNOWN)}")
    return Peaks(_KNOWN[known][0] * 1e12, _KNOWN[known][1] * 1e12, f"data sheet of {known}")
