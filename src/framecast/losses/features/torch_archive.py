"""Tensors of a PyTorch checkpoint, read without unpickling it.

``torch.save`` writes a zip without compression: ``<name>/data/<key>`` is the bytes of a storage (little-endian), and
``<name>/data.pkl`` a pickle, which is a program that builds the state dict and may call anything on its way. Here the
program is never run. Its instructions are followed on a stack of our own, where a call is only noted down: those that
would rebuild a tensor of float32 say which storage holds it, and every other note is dropped. ``numpy.load`` gives the
members of a zip as bytes.
"""

import math
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from framecast.errors import UserError

AFFECTS_NUMBERS = False

LONGEST_PROGRAM = 1 << 20  #: bytes; that of VGG16 has about 3 000
VALUES = {"EMPTY_DICT": None, "EMPTY_LIST": None, "EMPTY_TUPLE": (), "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "GLOBAL"}
PUTS, GETS = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Call:
    function: Any
    arguments: Any


@dataclass(frozen=True)
class _Storage:
    told: Any  #: ("storage", type, key, device, length)


class _Mark:
    """Where a tuple or a group of items begins on the stack."""


def read_tensors(path: Path, shapes: Mapping[str, Shape]) -> dict[str, Float32[np.ndarray, "..."]]:
    """The named float32 tensors of a state dict, each of the shape that is expected of it.

    Raises UserError when the file is no such checkpoint, or a tensor is missing or laid out otherwise.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            sizes = {member.filename: member.file_size for member in archive.zip.infolist()}
            program = next(name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl"))
            if sizes[program] > LONGEST_PROGRAM:
                raise ValueError(f"{program} has {sizes[program]} bytes")
            calls = dict(_items(archive[program]))
            folder = program.removesuffix("data.pkl") + "data/"
            found = {}
            for name, shape in shapes.items():
                member = folder + _storage_key(name, calls.get(name), shape)
                if sizes.get(member) != 4 * math.prod(shape):
                    raise ValueError(f"{name}: {member} has {sizes.get(member, 'no')} bytes")
                found[name] = np.frombuffer(archive[member], "<f4").reshape(shape)
            return found
    except OSError:
        raise
    except Exception as error:  # whatever the zip, the program or our reading of it stumbles over
        told = " ".join(str(error).split()) or "no data.pkl"
        raise UserError(f"{path}: expected a zip written by torch.save with a state dict, found {told}") from None


def _storage_key(name: str, call: Any, shape: Shape) -> str:
    """The member that holds a tensor, which must be the whole of it in the usual order of axes."""
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    match call:
        case _Call("torch._utils _rebuild_tensor_v2", (_Storage(told), 0, found, found_strides, *_)):
            if (found, found_strides, told[:2]) == (shape, strides, ("storage", "torch FloatStorage")):
                return str(told[2])
    raise ValueError(f"{name}: no float32 tensor of shape {shape} in rows")


def _items(program: bytes) -> Iterator[tuple[str, _Call]]:
    """Every (name, noted call) that the program puts into a dictionary."""
    stack: list[Any] = []
    memory: dict[Any, Any] = {}
    for instruction, argument, _ in pickletools.genops(program):
        match instruction.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_Mark())
            case code if code in VALUES:
                stack.append(VALUES[code])
            case code if code in LITERALS:
                stack.append(argument)
            case code if code in PUTS:
                memory[argument] = stack[-1]
            case code if code in GETS:
                stack.append(memory[argument])
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case code if code in TUPLES:
                stack[-TUPLES[code] :] = [tuple(stack[-TUPLES[code] :])]
            case "BINPERSID":
                stack.append(_Storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_Call(function, arguments))
            case "BUILD":
                stack.pop()
            case "SETITEM":
                value, name = stack.pop(), stack.pop()
                yield from _tensors([name, value])
            case "SETITEMS":
                yield from _tensors(_since_mark(stack))
            case code:
                raise ValueError(f"the instruction {code}, which no state dict needs")


def _since_mark(stack: list[Any]) -> list[Any]:
    """Take what was put on the stack since the last mark, and the mark."""
    taken: list[Any] = []
    while not isinstance(top := stack.pop(), _Mark):
        taken.append(top)
    return taken[::-1]


def _tensors(flat: list[Any]) -> Iterator[tuple[str, _Call]]:
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        if isinstance(name, str) and isinstance(value, _Call):
            yield name, value
