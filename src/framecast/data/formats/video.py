"""Video files as grey frames, and frames in another size. Decoded with PyAV, that is with FFmpeg's own decoders.

Grey is the luma Y of a clip, stretched from the clip's own range to 0..255:

    limited range   g = (Y − 16·s) · 255 / (219·s)        s = 2^(bits − 8)
    full range      g = Y · 255 / (2^bits − 1)

rounded and clipped. This is what ``ffmpeg -pix_fmt gray`` writes, to one level, whatever matrix (BT.601, BT.709) the
clip declares: the matrix says how Y was made from red, green and blue, and Y is what is wanted. Asked for grey frames,
newer FFmpeg libraries convert between matrices instead, which moves a coloured pixel of a BT.709 clip by up to 38
levels; a forgotten range moves dark and bright pixels by up to 20.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange
from jaxtyping import Float, UInt8

from framecast.errors import UserError

Resize = Literal["area", "bilinear"]

DECODER_ERRORS = (av.error.FFmpegError, ValueError)
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}  # what a decoder finds damaged is an error, not a guess


def grey_frames(
    source: Path | bytes,
    name: str,
    *,
    shape: tuple[int, int],
    concealed: list[int] | None = None,
    container: str = "avi",
) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """The frames of a file (its path or its content) in order, 0..255, one at a time.

    ``name`` is the file's in messages, ``shape`` the (height, width) that its frames must have. With ``concealed`` the
    decoder may fill in what it cannot read of a frame, as players do, and the frame's number is appended there.
    Nothing but the one ``container`` is looked for, since others may name further files and addresses to be read.

    Raises UserError when the file is no video, has frames of another shape, or cannot be decoded to its end: a packet
    is damaged, or there are fewer or more frames than its header counts.
    """
    count = 0
    try:
        with _opened(source, name, container) as stream:
            announced = stream.frames
            stream.codec_context.thread_count = 1
            if concealed is None:
                stream.codec_context.options = STRICT
            for frame in stream.container.decode(stream):
                if (frame.height, frame.width) != shape:
                    found = f"{frame.height}×{frame.width}"
                    raise UserError(f"{name}: expected frames of {shape[0]}×{shape[1]} pixels, found {found}")
                count += 1
                if frame.is_corrupt:
                    if concealed is None:
                        raise UserError(f"{name}: expected a clip that decodes to its end, found frame {count} damaged")
                    concealed.append(count)
                yield _grey(frame, name)
    except DECODER_ERRORS as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"{name}: expected a clip that decodes to its end, found an error after frame {count}: {told}"
        ) from None
    if announced != count:
        raise UserError(f"{name}: expected {announced} frames as its header says, found {count}")


def frame_count(source: Path | bytes, name: str) -> int:
    """How many frames the header of an AVI file counts; nothing is decoded. UserError when it is none with video."""
    try:
        with _opened(source, name, "avi") as stream:
            return int(stream.frames)
    except DECODER_ERRORS as error:
        raise UserError(f"{name}: expected a video, found {' '.join(str(error).split())}") from None


@contextmanager
def _opened(source: Path | bytes, name: str, container: str) -> Iterator[Any]:
    """The video stream of a file."""
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), format=container) as opened:
        if not opened.streams.video:
            raise UserError(f"{name}: expected a video, found {opened.format.long_name} without one")
        yield opened.streams.video[0]


def _grey(frame: Any, name: str) -> UInt8[np.ndarray, "h w"]:
    """The grey levels of a decoded frame."""
    pixels = frame.format
    if pixels.is_rgb:
        return np.asarray(frame.to_ndarray(format="gray"))
    bits, plane = pixels.components[0].bits, frame.planes[0]
    if not pixels.is_planar and not pixels.name.startswith("gray"):
        raise UserError(f"{name}: expected planes of luma and chroma, or grey, found pixel format {pixels.name}")
    if bits > 8 and pixels.is_big_endian:
        raise UserError(f"{name}: expected little-endian samples, found pixel format {pixels.name}")
    full = frame.color_range == ColorRange.JPEG or pixels.name.startswith(("yuvj", "gray"))
    samples = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
    width = plane.line_size // samples.itemsize
    return _levels(bits, full)[samples.reshape(-1, width)[: frame.height, : frame.width]]


@cache
def _levels(bits: int, full: bool) -> UInt8[np.ndarray, " v"]:
    """The grey level of every value of Y."""
    luma, unit = np.arange(2**bits), 2 ** (bits - 8)
    grey = luma * 255 / (2**bits - 1) if full else (luma - 16 * unit) * 255 / (219 * unit)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


# --- writing ----------------------------------------------------------------------------------------


def write_lossless(path: Path, frames: Iterable[UInt8[np.ndarray, "h w"]], *, rate: int = 25) -> None:
    """Grey frames as an AVI file: FFV1, luma in limited range, neutral chroma.

    The stored luma is round(16 + 219·g/255), as in a camera's file, so the levels that come back lie within 1 of g.
    """
    luma = np.rint(16 + np.arange(256) * (219 / 255)).astype(np.uint8)
    with av.open(str(path), mode="w", format="avi") as container:
        stream: Any = None
        for frame in frames:
            height, width = frame.shape
            if stream is None:
                stream = container.add_stream("ffv1", rate=rate, options={"level": "3"})
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                stream.codec_context.thread_count = 1
            rows = np.full((height * 3 // 2, width), 128, np.uint8)
            rows[:height] = luma[frame]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rows, format="yuv420p")))
        container.mux(stream.encode())


# --- another size -----------------------------------------------------------------------------------


def resized(frames: UInt8[np.ndarray, "n h w"], size: int, how: Resize) -> UInt8[np.ndarray, "n {size} {size}"]:
    """Every frame squeezed into a square, each axis by itself, rounded to whole grey levels.

    ``area``: the mean over the part of the frame that a new pixel covers, as OpenCV's ``INTER_AREA`` when it shrinks.
    ``bilinear``: between the four pixels around a new pixel's centre and no others, as OpenCV's ``INTER_LINEAR``.
    """
    down, across = _weights(frames.shape[1], size, how), _weights(frames.shape[2], size, how)
    made = np.empty((len(frames), size, size), np.uint8)
    for new, frame in zip(made, frames, strict=True):
        new[:] = np.floor(down @ frame @ across.T + 0.5)
    return made


@cache
def _weights(old: int, new: int, how: Resize) -> Float[np.ndarray, "{new} {old}"]:
    """What each old pixel gives to each new one.

    In units of 2⁻²²: sums of grey levels, over both axes too, are then exact, hence the same on every machine.
    """
    scale = old / new
    if how == "area":
        edges, pixels = np.arange(new + 1) * scale, np.arange(old)
        begin, end = edges[:-1, None], edges[1:, None]
        weights = np.clip(np.minimum(end, pixels + 1) - np.maximum(begin, pixels), 0, None) / scale
    else:
        centre = np.clip((np.arange(new) + 0.5) * scale - 0.5, 0, old - 1)
        weights = np.clip(1 - np.abs(centre[:, None] - np.arange(old)), 0, None)
    return np.rint(weights * 2**22) / 2**22
