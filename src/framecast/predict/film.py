"""A forecast as a clip to be played: observed frames, then forecast ones, framed in the colour of what they are.

Every panel is an enlarged frame in a coloured border, under the name of its system; below them stands the step. Grey
is observed, orange forecast, magenta forecast further than in training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from framecast.figures.base import PALE, PALETTE, picture

OBSERVED, FORECAST, BEYOND = PALE, PALETTE[1], PALETTE[3]
BORDER, MARGIN, LINE, LETTERS = 6, 8, 22, 14  #: pixels
ACROSS = 4  #: panels side by side
READABLE = 256  #: pixels that the shorter side of a panel is enlarged to, or beyond, in whole factors
BLANK = 0.8
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}


@dataclass(frozen=True)
class Panel:
    """Frames (N, C, H, W) in [0, 1] under a name; ``marked`` where those after the context are forecasts."""

    name: str
    frames: Float[np.ndarray, "n c h w"]
    marked: bool = True


def enlargement(frame_shape: tuple[int, ...]) -> int:
    """How many pixels a side of the film a pixel of a frame (C, H, W) takes."""
    return max(1, -(-READABLE // min(frame_shape[-2:])))


def size(panels: int, frame_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a film with so many panels of frames (C, H, W), before an odd one is padded."""
    height, width = (side * enlargement(frame_shape) + 2 * BORDER for side in frame_shape[-2:])
    rows, columns = -(-panels // ACROSS), min(panels, ACROSS)
    return rows * (LINE + height + MARGIN) + LINE, columns * (width + MARGIN) + MARGIN


def drawn(panels: Sequence[Panel], context: int, trained: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The steps of a film, of an even size: padded, not cut. A panel with fewer frames is blank at its end."""
    shape = panels[0].frames.shape
    height, width = size(len(panels), shape)
    panel_height, panel_width = (side * enlargement(shape) + 2 * BORDER for side in shape[-2:])
    font = ImageFont.load_default(LETTERS)
    for step in range(max(len(panel.frames) for panel in panels)):
        image = Image.new("RGB", (width + width % 2, height + height % 2), "white")
        draw = ImageDraw.Draw(image)
        for number, panel in enumerate(panels):
            down, across = divmod(number, ACROSS)
            top, left = down * (LINE + panel_height + MARGIN), MARGIN + across * (panel_width + MARGIN)
            draw.text((left, top + 3), _shortened(panel.name, panel_width, font), fill="black", font=font)
            colour = _colour(step, context, trained) if panel.marked else OBSERVED
            image.paste(Image.fromarray(_enlarged(panel, step, colour)), (left, top + LINE))
        draw.text((MARGIN, height - LINE), told(step, context, trained), fill="black", font=font)
        yield np.asarray(image)


def told(step: int, context: int, trained: int) -> str:
    """What a step of the film is, counted from 0."""
    if step < context:
        return f"observed {step + 1} of {context}"
    ahead = step - context + 1
    return f"forecast {ahead}" + (f", beyond the {trained} of training" if ahead > trained else "")


def write(path: Path, frames: Iterator[UInt8[np.ndarray, "h w 3"]], rate: float, container: str) -> None:
    """Frames of an even size as H.264, or MPEG-4 where FFmpeg has no encoder for that; BT.709 in limited range."""
    encoder = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": "12"} if encoder == "libx264" else {"qscale": "2"}
    with av.open(str(path), mode="w", format=container) as opened:
        stream: Any = None
        for frame in frames:
            if stream is None:
                stream = opened.add_stream(encoder, rate=Fraction(rate).limit_denominator(1001), options=options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
                context = stream.codec_context
                context.thread_count, context.colorspace, context.color_range = 1, Colorspace.ITU709, ColorRange.MPEG
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            opened.mux(stream.encode(_in_bt709(rgb)))
        opened.mux(stream.encode())


def _in_bt709(rgb: Any) -> Any:
    return rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _colour(step: int, context: int, trained: int) -> str:
    if step < context:
        return OBSERVED
    return FORECAST if step < context + trained else BEYOND


def _enlarged(panel: Panel, step: int, colour: str) -> UInt8[np.ndarray, "h w 3"]:
    """One frame, each of its pixels larger by the film's factor, in its border."""
    factor = enlargement(panel.frames.shape)
    if step < len(panel.frames):
        levels = np.rint(picture(panel.frames[step : step + 1])[0] * 255).astype(np.uint8)
    else:
        levels = np.full((*panel.frames.shape[2:], 3), round(BLANK * 255), np.uint8)
    large = levels.repeat(factor, axis=0).repeat(factor, axis=1)
    bordered = np.full(
        (large.shape[0] + 2 * BORDER, large.shape[1] + 2 * BORDER, 3), ImageColor.getrgb(colour), np.uint8
    )
    bordered[BORDER:-BORDER, BORDER:-BORDER] = large
    return bordered


def _shortened(name: str, width: int, font: Any) -> str:
    """As much of a name as fits."""
    while font.getlength(name) > width:
        name = name.rstrip("…")[:-1] + "…"
    return name
