"""How much of an ONNX file is structure, and not numbers: asked of its bytes before protobuf makes objects of them.

A node of nothing has two bytes in the file and more than a hundred in memory.
"""

from __future__ import annotations

# Which fields of which messages lead to where numbers lie as bytes.
_INSIDE = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "tensor": {},
}
_NUMBERS = (4, 9, 10)  # float_data, raw_data, double_data of a tensor: in memory they are as large


def check_structure(data: bytes, most: int) -> None:
    r"""Check that all of `data` but the numbers in it is at most `most` bytes.

    Raises:
        ValueError: it is more, or these are no fields of protobuf.

    Example:
        >>> check_structure(b"\x08\x07", 2)
        >>> check_structure(b"\x08\x07", 1)
        Traceback (most recent call last):
        ...
        ValueError: more than 1 bytes besides numbers
    """
    structure = 0
    regions = [("model", 0, len(data))]
    while regions:
        message, at, end = regions.pop()
        while at < end:
            start = at
            key, at = _varint(data, at)
            field, kind = key >> 3, key & 7
            if kind == 2:
                size, at = _varint(data, at)
                inside = _INSIDE[message].get(field)
                if inside is not None:
                    regions.append((inside, at, at + size))
                if inside is not None or (message == "tensor" and field in _NUMBERS):
                    start += size  # is counted for itself, or not at all
                at += size
            elif kind == 0:
                at = _varint(data, at)[1]
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise ValueError(f"a field of kind {kind}")
            structure += at - start
            if structure > most:
                raise ValueError(f"more than {most:,} bytes besides numbers")
        if at > end:
            raise ValueError("a field that is larger than what it is in")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, seven bits a byte, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number without end")
