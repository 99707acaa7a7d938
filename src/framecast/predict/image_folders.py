"""A folder of numbered images as a clip."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from framecast.errors import UserError
from framecast.predict.notes import Notes
from framecast.predict.pictures import Picture, from_rgb, levels, over_black

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")  #: Pillow's modes of more than 8 bits
ORIENTATION = 0x0112  #: the EXIF entry


def pictures(folder: Path, channels: int, notes: Notes) -> Iterator[Picture]:
    """The images of a folder by the last number in their names; they have no time stamps.

    Raises UserError when there is none, one has no number, a number is missing or twice there, sizes differ, or a file
    is no image.
    """
    shape = None
    for path in _in_order(folder):
        frame = _read(path, notes)
        pixels = levels(frame, channels, str(path), notes)
        shape = shape or pixels.shape
        if pixels.shape != shape:
            found, first = (f"{each[2]}×{each[1]}" for each in (pixels.shape, shape))
            raise UserError(f"{path}: expected {first} pixels, as the first image has, found {found}")
        yield Picture(pixels)


def _in_order(folder: Path) -> list[Path]:
    images = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not images:
        raise UserError(f"{folder}: expected numbered images ({', '.join(SUFFIXES)}), found none")
    numbered: dict[int, Path] = {}
    for path in sorted(images):
        numbers = re.findall(r"\d+", path.stem)
        if not numbers:
            raise UserError(f"{path}: expected a number in the name, as in frame_0001.png, found none")
        other = numbered.setdefault(int(numbers[-1]), path)
        if other != path:
            raise UserError(f"{folder}: expected each number once, found {other.name} and {path.name}")
    first, last = min(numbered), max(numbered)
    missing = [number for number in range(first, last + 1) if number not in numbered]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise UserError(
            f"{folder}: expected images {first} to {last} without a gap, found number {missing[0]}{more} missing; "
            "add what is missing, or number them anew"
        )
    return [numbered[number] for number in range(first, last + 1)]


def _read(path: Path, notes: Notes) -> Any:
    """An image as a frame, turned as its EXIF entry says, over black where it is transparent."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if opened.getexif().get(ORIENTATION, 1) != 1:
                notes.converted("rotation", "as the EXIF entry of the images says")
            if image.mode in DEEP:
                raise UserError(f"{path}: found {image.mode} samples; allowed: 8 bits; an array (.npy) may have 16")
            if image.mode == "L":
                return av.VideoFrame.from_ndarray(np.array(image), format="gray")
            rgba = np.array(image.convert("RGBA"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: expected an image, found {' '.join(str(error).split())}") from None
    if rgba[..., 3].min() < 255:
        notes.converted("alpha", "what is transparent lies over black")
    return from_rgb(over_black(rgba))
