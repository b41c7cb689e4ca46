"""Thrift's compact protocol, as far as the footer of a Parquet file has it: bytes to values, back.

A struct is {field id: (type, value)} in the order of its fields; a list (type, values). Only for
footers that pyarrow wrote a moment ago: nothing here guards against bytes from elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

Struct = dict[int, tuple[int, Any]]

TRUE: Final = 1
FALSE: Final = 2
_BYTE, _DOUBLE = 3, 7
I64: Final = 6
_INTEGERS: Final = (4, 5, I64)  # of 16, 32 and 64 bits: written alike
BINARY: Final = 8
LIST: Final = 9
STRUCT: Final = 12
_LONG: Final = 15  # a list of so many or more says its length behind


def decode(data: bytes) -> Struct:
    """Return the struct that bytes hold."""
    found: Struct = _Reader(data).value(STRUCT)
    return found


def encode(struct: Struct) -> bytes:
    """Return the bytes of a struct."""
    out = bytearray()
    _write(out, STRUCT, struct)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def value(self, kind: int) -> Any:
        """Read one value of a type."""
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self._struct()
        if kind == LIST:
            head = self._take(1)[0]
            count = head >> 4
            if count == _LONG:
                count = self._varint()
            return head & 15, [self.value(head & 15) for _ in range(count)]
        if kind in (TRUE, FALSE, _BYTE):  # in a list; as a field the type says it all
            return self._take(1)[0]
        if kind == _DOUBLE:
            return self._take(8)
        raise AssertionError(f"a Parquet footer with a thrift type {kind}")

    def _struct(self) -> Struct:
        found: Struct = {}
        field = 0
        while head := self._take(1)[0]:
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            found[field] = (kind, None if kind in (TRUE, FALSE) else self.value(kind))
        return found

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _varint(out, value << 1 ^ value >> 63)
    elif kind == BINARY:
        _varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind == LIST:
        of, values = value
        if len(values) < _LONG:
            out.append(len(values) << 4 | of)
        else:
            out.append(_LONG << 4 | of)
            _varint(out, len(values))
        for one in values:
            _write(out, of, one)
    elif kind == _DOUBLE:
        out += value
    else:
        out.append(value)


def _write_struct(out: bytearray, struct: Struct) -> None:
    last = 0
    for field, (kind, value) in struct.items():
        if 0 < field - last < 16:
            out.append((field - last) << 4 | kind)
        else:
            out.append(kind)
            _varint(out, field << 1)
        if kind not in (TRUE, FALSE):
            _write(out, kind, value)
        last = field
    out.append(0)


def _varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
