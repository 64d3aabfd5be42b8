"""Random numbers without a state: 32 bits that are a function of (seed, step, index) alone.

The same on every library, for any memory order, nothing to save and to restore, and a recorded step can draw them.

    a = mix(low(seed) + 0x9E3779B9),  b = mix(high(seed) + a)        on the host, once
    k1 = mix(step ^ a),  k2 = mix(k1 + b),  bits = mix(mix(index ^ k1) + k2)

`mix` is a bijection of the 32-bit numbers in which every bit of the argument turns over each bit of the result in half
of all cases, nearly (lowbias32). Twice, with a key before each: two steps whose k1 differ in a few low bits would else
draw the same numbers in another order.

References:
    C. Wellons, Prospecting for Hash Functions (2018), https://nullprogram.com/blog/2018/07/31/ (lowbias32)
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, into, zeros
from ..checks import check_library, integer

_WORD = 0xFFFFFFFF  # 32 bits
_ROUNDS, _LAST = ((16, 0x7FEB352D), (15, 0x846CA68B)), 16  # of lowbias32


def seed_words(operation: str, seed: Any) -> tuple[int, int]:
    """Return a and b, the two words of a seed, which hang together with it in no simple way.

    Raises:
        TypeError, ValueError: `seed` is no whole number from 0 to below 2^64.
    """
    seed = integer(operation, "seed", seed, 0)
    if seed >> 64:
        raise ValueError(f"{operation}: got seed {seed}; expected one below 2^64; pass a smaller one")
    low = _mixed((seed & _WORD) + 0x9E3779B9 & _WORD)  # the golden ratio: else seed 0 would be mixed to 0
    return low, _mixed((seed >> 32) + low & _WORD)


def keys(operation: str, seed: Any, step: Any, *, x: Array, xp: Any) -> tuple[Array, Array]:
    """Return k1 and k2, each (1,), uint32, beside `x`.

    Args:
        operation: who asks, for what is said about wrong arguments.
        seed: 0 to below 2^64.
        step: a whole number from 0 up; or an array (1,) of whole numbers beside `x`, which is read where it lies.
        x: an array that says where the keys shall lie.
        xp: its library.
    """
    low, high = seed_words(operation, seed)
    if hasattr(step, "shape"):
        check_library(operation, x=x, step=step)
        if tuple(step.shape) != (1,) or not xp.isdtype(step.dtype, "integral"):
            raise TypeError(
                f"{operation}: got step {step.dtype} of shape {tuple(step.shape)}; expected whole numbers, (1,); pass "
                "such an array, or an int"
            )
        first = xp.astype(step, xp.uint32) ^ low
    else:
        first = zeros((1,), like=x, dtype="uint32")
        first[...] = (integer(operation, "step", step, 0) & _WORD) ^ low
    _mix(first, None, xp)
    second = first + high
    _mix(second, None, xp)
    return first, second


def hash_in_place(bits: Array, spare: Array, both: tuple[Array, Array], xp: Any) -> None:
    """Turn indices, uint32, into random bits; `spare` is overwritten, and has the shape of `bits`."""
    first, second = both
    bits ^= first
    _mix(bits, spare, xp)
    bits += second
    _mix(bits, spare, xp)


def _mixed(word: int) -> int:
    """Do what `_mix` does, with a number on the host."""
    for shift, odd in _ROUNDS:
        word = (word ^ word >> shift) * odd & _WORD
    return word ^ word >> _LAST


def _mix(bits: Array, spare: Array | None, xp: Any) -> None:
    """Shuffle 32-bit numbers, in place: lowbias32."""
    for shift, odd in _ROUNDS:
        bits ^= into(spare, xp.bitwise_right_shift, bits, shift)
        bits *= odd
    bits ^= into(spare, xp.bitwise_right_shift, bits, _LAST)
