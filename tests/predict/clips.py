"""Clips as people have them, made with PyAV: turned, deep, transparent, of a varying rate, with sound."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

RATE = 25
LEVELS = ((250, 170), (90, 20))  #: of the quarters of the picture, from the top left; no two turns of it look alike


def quarters(height: int = 48, width: int = 64, levels: Sequence[Sequence[int]] = LEVELS) -> np.ndarray:
    """A grey picture (H, W) whose four quarters tell which side is up."""
    picture = np.zeros((height, width), np.uint8)
    for half, row in zip(np.array_split(picture, 2), levels, strict=True):
        for quarter, level in zip(np.array_split(half, 2, axis=1), row, strict=True):
            quarter[:] = level
    return picture


def seen(frame: np.ndarray) -> np.ndarray:
    """The level in the middle of each quarter of a frame (1, S, S) in [0, 1], as 0..255."""
    size = frame.shape[-1]
    places = size // 4, size - 1 - size // 4
    return np.array([[float(frame[0, down, across]) * 255 for across in places] for down in places])


def frame_of(picture: np.ndarray, pixels: str, full: bool = False) -> Any:
    """A grey (H, W) or RGB (H, W, 3) or RGBA picture in a pixel format, BT.601."""
    depth = {2: "gray", 3: "rgb24", 4: "rgba"}[picture.ndim if picture.ndim == 2 else picture.shape[-1]]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=depth)
    if depth == pixels:
        return frame
    span = ColorRange.JPEG if full else ColorRange.MPEG
    whole = {} if depth != "gray" else {"src_color_range": ColorRange.JPEG}
    colours = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": span} if pixels.startswith("yuv") else {}
    return frame.reformat(format=pixels, **whole, **colours)


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    pixels: str = "yuv420p",
    rate: int = RATE,
    milliseconds: Sequence[int] | None = None,
    full: bool = False,
    turned: int = 0,
    sound: bool = False,
    transfer: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A video file; the suffix says which. ``milliseconds`` are the times of its frames, where they vary."""
    with av.open(str(path), mode="w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.codec_context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        if transfer:
            stream.codec_context.color_trc = transfer
        if turned:
            stream.set_display_rotation(turned)
        tones = container.add_stream("aac", rate=48_000) if sound else None
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = frame_of(picture, pixels, full)
            frame.pts = milliseconds[number] if milliseconds else number
            frame.time_base = Fraction(1, 1000) if milliseconds else Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tones:
            _silence(container, tones)
    return path


def _silence(container: Any, stream: Any) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48_000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
