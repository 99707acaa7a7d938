"""Arrays and tables as clips: ``.npy`` and ``.npz`` of frames or of a series, ``.csv`` of a series.

What is expected: axes T H W (grey), T H W C or T C H W of frames, T or T C of a series, time first; another order is
named with ``--axes``. Values: uint8 0..255, bool, uint16 0..65535, floats in [0, 1], other integers 0..255.
"""

import csv
import math
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from framecast.data.formats.kth_archives import ZIP_ERRORS
from framecast.errors import UserError
from framecast.predict.notes import Notes
from framecast.predict.pictures import Picture, from_rgb, levels, over_black

CHANNELS = (1, 3, 4)
DAMAGED = (OSError, ValueError, SyntaxError, tokenize.TokenError, OverflowError)  #: a header that NumPy cannot parse
EXPECTED = "T H W, T H W C or T C H W with 1, 3 or 4 channels"
VALUES = "uint8 in 0..255, bool, uint16 in 0..65535, floats in [0, 1], or other integers in 0..255"
NAMES = ("frames", "clip", "video", "series", "arr_0")  #: which array of several is meant


def load(path: Path, notes: Notes) -> np.ndarray:
    """The array of a file; of an ``.npz`` with several, the one named ``frames``, ``clip``, ``video`` or ``series``.

    Raises UserError when the file is damaged, holds no numbers, or it is not clear which array is meant.
    """
    try:
        if path.suffix.lower() == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else _chosen(found, path, notes)
    except (*DAMAGED, *ZIP_ERRORS) as error:
        raise UserError(f"{path}: expected a NumPy array, found {' '.join(str(error).split())}") from None


def _chosen(archive: Any, path: Path, notes: Notes) -> np.ndarray:
    with archive:
        names = archive.files
        name = next((name for name in NAMES if name in names), names[0] if len(names) == 1 else None)
        if name is None:
            raise UserError(f"{path}: found arrays {', '.join(names) or 'none'}; allowed: one, or one named frames")
        notes.converted("array", name)
        return np.asarray(archive[name])


def pictures(array: np.ndarray, path: Path, axes: str, channels: int, notes: Notes) -> Iterator[Picture]:
    """The frames of an array, without time stamps. Raises UserError for shapes and values other than those expected."""
    frames = _frames_first(array, path, axes)  # (T, H, W, C)
    if 0 in frames.shape:
        raise UserError(f"{path}: found an array of {' × '.join(map(str, array.shape))}, which is empty")
    _refuse_other_types(frames, path)
    if frames.dtype != np.uint8:
        notes.converted("values", f"{frames.dtype}, to levels 0 to 255")
    for number, frame in enumerate(frames, start=1):
        pixels = _levels(np.asarray(frame), f"{path}: frame {number}")
        yield Picture(_in_channels(pixels, channels, path, notes))


def _frames_first(array: np.ndarray, path: Path, axes: str) -> np.ndarray:
    if axes:
        return _reordered(array, path, axes.upper())
    shape = " × ".join(map(str, array.shape)) or "a single number"
    if array.ndim == 3:
        return array[..., None]
    if array.ndim != 4:
        raise UserError(f"{path}: found an array of {shape}; allowed: {EXPECTED}")
    last, second = array.shape[3] in CHANNELS, array.shape[1] in CHANNELS
    if last == second:
        why = "which leaves open where the channels are" if last else "of which no axis is one of channels"
        raise UserError(f"{path}: found {shape}, {why}; allowed: {EXPECTED}; say the order, as in --axes TCHW")
    return array if last else np.moveaxis(array, 1, -1)


def _reordered(array: np.ndarray, path: Path, axes: str) -> np.ndarray:
    if sorted(axes) not in (sorted("THW"), sorted("THWC")) or len(axes) != array.ndim:
        shape = " × ".join(map(str, array.shape))
        raise UserError(f"--axes: found {axes} for {path} of {shape}; allowed: each of T, H, W and, if there, C once")
    frames = np.transpose(array if "C" in axes else array[..., None], [*(f"{axes}C".index(axis) for axis in "THWC")])
    if frames.shape[-1] not in CHANNELS:
        raise UserError(f"{path}: found {frames.shape[-1]} channels; allowed: 1, 3 or 4")
    return frames


def _refuse_other_types(array: np.ndarray, path: Path) -> None:
    if array.dtype.kind not in "buif":
        raise UserError(f"{path}: found values of type {array.dtype}; allowed: {VALUES}")


def _levels(values: np.ndarray, where: str) -> UInt8[np.ndarray, "h w c"]:
    """Values of any accepted type as levels 0..255."""
    if values.dtype == np.uint8:
        return values
    kind, size = values.dtype.kind, values.dtype.itemsize
    top = 1.0 if kind in "bf" else 65535.0 if (kind, size) == ("u", 2) else 255.0
    found = values.astype(np.float64)
    if not np.isfinite(found).all():
        raise UserError(f"{where}: found NaN or infinity; allowed: {VALUES}")
    if found.min() < 0 or found.max() > top:
        span = f"{values.dtype} from {found.min():g} to {found.max():g}"
        raise UserError(f"{where}: found {span}; allowed: {VALUES}")
    return np.rint(found * (255 / top)).astype(np.uint8)


def _in_channels(pixels: UInt8[np.ndarray, "h w c"], channels: int, path: Path, notes: Notes) -> np.ndarray:
    if pixels.shape[-1] == 1:
        if channels == 3:
            notes.converted("colour", "grey, repeated in red, green and blue")
        return np.repeat(pixels[..., 0][None], channels, axis=0)
    if pixels.shape[-1] == 4:
        notes.converted("alpha", "what is transparent lies over black")
        pixels = over_black(pixels)
    return levels(from_rgb(pixels), channels, str(path), notes)


# --- series -----------------------------------------------------------------------------------------


def series(path: Path, channels: int, column: str, notes: Notes) -> Float64[np.ndarray, "t c"]:
    """The points of a series of C channels, in the file's own units.

    Raises UserError when there are not C columns or they are not named, or a value is no finite number.
    """
    table = _table(path, channels, column, notes) if path.suffix.lower() == ".csv" else _array(path, channels, notes)
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0]) + 1
        raise UserError(f"{path}: found NaN or infinity at point {row}; allowed: finite numbers")
    return table


def _array(path: Path, channels: int, notes: Notes) -> np.ndarray:
    array = load(path, notes)
    _refuse_other_types(array, path)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != channels:
        shape = " × ".join(map(str, array.shape))
        raise UserError(f"{path}: found an array of {shape}; allowed: T × {channels}, a series, time first")
    return np.asarray(array, np.float64)


def _table(path: Path, channels: int, column: str, notes: Notes) -> np.ndarray:
    try:
        rows = [
            row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if any(map(str.strip, row))
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a table in CSV, found {error}") from None
    if not rows:
        raise UserError(f"{path}: expected a table in CSV, found nothing")
    has_header = not any(_is_number(cell) for cell in rows[0])
    header = [cell.strip() for cell in rows[0]] if has_header else [str(at + 1) for at in range(len(rows[0]))]
    body = rows[has_header:]
    wanted = [name.strip() for name in column.split(",")] if column else _numeric(header, body)
    if len(wanted) != channels or not set(wanted) <= set(header):
        found = ", ".join(wanted) or "none of numbers"
        raise UserError(
            f"{path}: expected {channels} column{'s' * (channels > 1)}, found {found}; "
            f"name {'them' if channels > 1 else 'it'} with --column; there are {', '.join(header)}"
        )
    if len(wanted) < len(header):
        notes.converted("columns", f"{', '.join(wanted)} of {', '.join(header)}")
    at = [header.index(name) for name in wanted]
    return np.array(
        [[_number(row, index, path, line) for index in at] for line, row in enumerate(body, 1 + has_header)]
    )


def _numeric(header: list[str], body: list[list[str]]) -> list[str]:
    first = body[0] if body else []
    return [name for name, cell in zip(header, first, strict=False) if _is_number(cell)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(row: list[str], index: int, path: Path, line: int) -> float:
    text = row[index].strip() if index < len(row) else ""
    if not _is_number(text) or not math.isfinite(float(text)):
        raise UserError(f"{path}: row {line}: expected a number, found {text or 'nothing'}")
    return float(text)
