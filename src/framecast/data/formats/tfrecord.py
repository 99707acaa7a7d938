"""TFRecord files of ``tf.train.Example`` messages, read and written without TensorFlow.

A file is a row of records and nothing else. A record is: the length n of its data (8 bytes, little-endian), a masked
checksum of these 8 bytes (4 bytes), the data (n bytes), a masked checksum of the data (4 bytes), where

    masked(c) = (c rotated right by 15 bits + 0xA282EAD8) mod 2³²,    c = CRC-32C (Castagnoli) of the bytes.

The data is a protobuf message ``Example``, of which field 1 is ``Features``, a map: its field 1 is an entry, with the
key in field 1 and a ``Feature`` in field 2. That is one of three lists (1: bytes, 2: floats, 3: int64) whose field 1
holds the values; numbers may be packed into one field or stand in one each.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import NoReturn

import numpy as np
from google_crc32c import value as crc32c

from framecast.errors import UserError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  #: wire types of protobuf
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3  #: fields of ``Feature``

Feature = list[bytes] | np.ndarray  #: bytes; numbers as (n,) float32 or int64


def masked_crc(data: bytes) -> int:
    """The masked CRC-32C of some bytes: ((c >> 15 | c << 17) + 0xA282EAD8) mod 2³²."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# --- records --------------------------------------------------------------------------------------


def read_records(file: BufferedIOBase, name: str, count: int) -> Iterator[bytes]:
    """The data of each of the ``count`` records that a seekable file holds, one in memory at a time.

    Raises UserError with the file's ``name``, the number of the record (from 1), expected and found when a checksum is
    wrong, or the file does not end right after its last record.
    """
    size = file.seek(0, 2)
    file.seek(0)
    for number in range(1, count + 1):

        def damaged(expected: str, found: str, number: int = number) -> NoReturn:
            raise UserError(f"{name}, record {number}: expected {expected}, found {found}; get the file again")

        left = size - file.tell()
        if left < 16:
            damaged(f"one of {count} records", f"the end of the file after {left} more bytes")
        header = file.read(12)
        length, checksum = struct.unpack("<QI", header)
        if (crc := masked_crc(header[:8])) != checksum:
            damaged(f"checksum {checksum:08x} of its length", f"{crc:08x}")
        if length > left - 16:
            damaged(f"{length} bytes of data", f"the end of the file after {left - 12} bytes")
        data, (checksum,) = file.read(length), struct.unpack("<I", file.read(4))
        if (crc := masked_crc(data)) != checksum:
            damaged(f"checksum {checksum:08x} of its data", f"{crc:08x}")
        yield data
    if (left := size - file.tell()) > 0:
        raise UserError(f"{name}: expected the end of the file after {count} records, found {left} more bytes")


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Write a file of records, one in memory at a time."""
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data)))


# --- tf.train.Example, read -------------------------------------------------------------------------


def read_example(data: bytes) -> dict[str, Feature]:
    """The features of a serialized ``Example`` by their keys; ValueError says what of it is no such message."""
    found = {}
    for features in _chosen(memoryview(data), 1):
        for entry in _chosen(features, 1):
            key = b"".join(_chosen(entry, 1)).decode()
            found[key] = _feature(b"".join(_chosen(entry, 2)))
    return found


def _feature(data: bytes) -> Feature:
    """The values of the one list of a ``Feature``; a later kind of list replaces an earlier one, as protobuf has it."""
    kind = BYTES_LIST
    parts: list[bytes | memoryview] = []
    for field, wire, value in _fields(memoryview(data)):
        if field in (BYTES_LIST, FLOAT_LIST, INT64_LIST) and wire == BYTES:
            kind, parts = field, [*(parts if field == kind else []), value]
    values = [one for one in _fields(memoryview(b"".join(parts))) if one[0] == 1]
    if kind == BYTES_LIST:
        return [bytes(value) for _, wire, value in values if wire == BYTES]
    if kind == FLOAT_LIST:
        return np.frombuffer(b"".join(value for _, wire, value in values if wire in (BYTES, FIXED32)), "<f4")
    return np.array([number for _, wire, value in values for number in _integers(wire, value)], np.int64)


def _integers(wire: int, value: memoryview) -> Iterator[int]:
    """Numbers of an int64 list's field, packed or one; negative ones are stored as their 64-bit complement."""
    at = 0
    while wire in (VARINT, BYTES) and at < len(value):
        number, at = _varint(value, at)
        yield (number & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)


def _chosen(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of a message's fields of one number that are strings or messages."""
    return (value for field, wire, value in _fields(message) if field == wanted and wire == BYTES)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Field number, wire type and content (a varint as its bytes) of each field of a message, in their order."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length, at = _varint(message, at)
        elif wire == VARINT:
            length = _varint(message, at)[1] - at
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} in byte {at}")
        if length > len(message) - at:
            raise ValueError(f"a field of {length} bytes where {len(message) - at} are left")
        yield field, wire, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at == len(message):
            raise ValueError("the end of the message inside a number")
        byte, at = message[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number of more than ten bytes")


# --- tf.train.Example, written ------------------------------------------------------------------------


def write_example(features: Mapping[str, bytes | np.ndarray]) -> bytes:
    """A serialized ``Example``, keys in string order: one value of bytes, or float32 numbers (packed), for each key."""
    entries = b""
    for key, value in sorted(features.items()):
        if isinstance(value, bytes):
            feature = _field(BYTES_LIST, _field(1, value))
        else:
            feature = _field(FLOAT_LIST, _field(1, value.astype("<f4").tobytes()))
        entries += _field(1, _field(1, key.encode()) + _field(2, feature))
    return _field(1, entries)


def _field(number: int, content: bytes) -> bytes:
    length, digits = len(content), bytearray([number << 3 | BYTES])
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*digits, length]) + content
