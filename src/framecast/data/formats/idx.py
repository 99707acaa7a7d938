"""idx: the gzipped image files of MNIST (LeCun, Cortes, Burges).

Big-endian header — magic 0x00000803 (unsigned bytes, three axes), then the three lengths — and the pixels, row by row.
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from framecast.errors import UserError

MAGIC = 0x00000803
HEADER = struct.Struct(">4I")
LARGEST = 1 << 30  #: pixels that a header may announce, twenty times MNIST's

#: sha256 of the published image files.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
}


def read_images(path: Path) -> UInt8[np.ndarray, "n h w"]:
    """The images of a gzipped idx3 file, 0..255.

    No more is unpacked than the header announces, whatever the archive holds. Raises UserError with path, expected and
    found when the file does not unpack or its header does not describe it.
    """
    try:
        with gzip.open(path) as archive:
            count, height, width = _lengths(archive.read(HEADER.size), path)
            pixels = archive.read(count * height * width + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        size = path.stat().st_size
        raise UserError(f"{path}: expected a whole gzip file, found {size} bytes that do not unpack: {error}") from None
    if (found := len(pixels)) != count * height * width:
        many = f"more than {found - 1}" if found > count * height * width else str(found)
        raise UserError(f"{path}: expected {count}×{height}×{width} pixels as its header says, found {many}")
    return np.frombuffer(pixels, np.uint8).reshape(count, height, width)


def _lengths(header: bytes, path: Path) -> tuple[int, int, int]:
    """Images, rows and columns that a header announces."""
    if len(header) < HEADER.size:
        raise UserError(f"{path}: expected an idx header of {HEADER.size} bytes, found {len(header)} bytes")
    magic, count, height, width = HEADER.unpack(header)
    if magic != MAGIC:
        raise UserError(f"{path}: expected idx images (magic {MAGIC:#010x}), found magic {magic:#010x}")
    if count * height * width > LARGEST:
        raise UserError(f"{path}: expected at most {LARGEST} pixels, found a header of {count}×{height}×{width}")
    return count, height, width
