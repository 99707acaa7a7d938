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

#: sha256 of the published image files.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
}


def read_images(path: Path) -> UInt8[np.ndarray, "n h w"]:
    """The images of a gzipped idx3 file, 0..255.

    Raises UserError with path, expected and found when the file does not unpack or its header does not describe it.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        size = path.stat().st_size
        raise UserError(f"{path}: expected a whole gzip file, found {size} bytes that do not unpack: {error}") from None
    if len(content) < HEADER.size:
        raise UserError(f"{path}: expected an idx header of {HEADER.size} bytes, found {len(content)} bytes")
    magic, count, height, width = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise UserError(f"{path}: expected idx images (magic {MAGIC:#010x}), found magic {magic:#010x}")
    if (found := len(content) - HEADER.size) != count * height * width:
        raise UserError(f"{path}: expected {count}×{height}×{width} pixels as its header says, found {found}")
    return np.frombuffer(content, np.uint8, offset=HEADER.size).reshape(count, height, width)
