"""Arrays larger than memory: made in blocks, each of them stored before the next one is made."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from framecast.data.base import Prepared

SAFETENSORS = {"uint8": "U8", "int32": "I32", "int64": "I64", "float32": "F32"}


@dataclass(frozen=True)
class Stream:
    """An array (N, …) as the blocks of rows that ``blocks()`` makes, one after the other, whenever it is called."""

    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[np.ndarray]]
    dtype: str = "uint8"

    def array(self) -> np.ndarray:
        """The whole of it, in memory."""
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *self.blocks()])


@dataclass(frozen=True)
class StreamedPrepared(Prepared):
    """What ``prepare`` hands over where some arrays, the ``streams``, need not fit into memory."""

    streams: Mapping[str, Stream] = field(default_factory=dict)


def save(path: Path, arrays: Mapping[str, np.ndarray], streams: Mapping[str, Stream]) -> None:
    """Write arrays and streams as one safetensors file; of a stream, one block at a time is in memory.

    The format: the length of a JSON header (8 bytes, little-endian); the header, which says of each array its type,
    its shape and where its bytes begin and end; the bytes. The largest numbers come first, so that each is aligned.
    """
    held = {name: Stream(array.shape, partial(iter, (array,)), str(array.dtype)) for name, array in arrays.items()}
    named = sorted({**held, **streams}.items(), key=lambda one: (-np.dtype(one[1].dtype).itemsize, one[0]))
    header, end = {}, 0
    for name, stream in named:
        start, end = end, end + int(np.prod(stream.shape)) * np.dtype(stream.dtype).itemsize
        shape = [int(length) for length in stream.shape]
        header[name] = {"dtype": SAFETENSORS[stream.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, stream in named:
            rows = 0
            for block in stream.blocks():
                if (block.shape[1:], block.dtype) != (stream.shape[1:], stream.dtype):
                    raise ValueError(f"{name}: expected rows of {stream}, found {block.dtype} {block.shape}")
                rows += len(block)
                file.write(np.ascontiguousarray(block).data)
            if rows != stream.shape[0]:
                raise ValueError(f"{name}: expected {stream.shape[0]} rows, found {rows}")
