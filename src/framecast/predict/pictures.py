"""Decoded frames as the levels that a system is trained on.

Grey levels are those of ``data.formats.video``, through which every training clip went: what is learned there and what
is asked here pass through the same code. Colour is RGB by the matrix and range that the clip declares; where it
declares no matrix, BT.601 below 720 lines and BT.709 from there on, as players take it.
"""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8

from framecast.data.formats.video import _grey
from framecast.predict.notes import Notes

MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
}
MATRICES |= {9: Colorspace.BT2020, 10: Colorspace.BT2020}
HIGH_DEFINITION = 720  #: lines


@dataclass(frozen=True)
class Picture:
    """One frame of a clip: levels 0..255 (C, H, W), when it is shown (None: unknown), width / height of a pixel."""

    levels: UInt8[np.ndarray, "c h w"]
    seconds: float | None = None
    aspect: float = 1.0


def levels(frame: Any, channels: int, name: str, notes: Notes) -> UInt8[np.ndarray, "c h w"]:
    """A decoded frame in one channel (grey) or three (RGB), over black where it is transparent.

    Raises UserError for a pixel format that has neither luma nor colours of its own.
    """
    frame = _without_alpha(frame, notes)
    _tell(frame, channels, notes)
    if channels == 1:
        return _grey(_in_planes(frame), name)[None]
    return np.ascontiguousarray(np.moveaxis(_rgb(frame), -1, 0))


def from_rgb(rgb: UInt8[np.ndarray, "h w 3"]) -> Any:
    """Pixels as a frame, so that they go through the same code as a decoded one."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")


def over_black(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """α · colour, rounded."""
    return np.rint(rgba[..., :3] * (rgba[..., 3:] / 255)).astype(np.uint8)


def _without_alpha(frame: Any, notes: Notes) -> Any:
    pixels = frame.format
    if not (pixels.has_palette or any(component.is_alpha for component in pixels.components)):
        return frame
    rgba = frame.reformat(format="rgba", **_colours(frame)).to_ndarray()
    if rgba[..., 3].min() == 255:
        return from_rgb(rgba[..., :3]) if pixels.has_palette or not pixels.is_planar else frame
    notes.converted("alpha", "what is transparent lies over black")
    return from_rgb(over_black(rgba))


def _in_planes(frame: Any) -> Any:
    """The same frame with its luma in a plane of its own, in range and depth as it was."""
    pixels = frame.format
    if pixels.is_rgb or pixels.name.startswith("gray"):
        return frame
    if pixels.name.startswith("mono"):
        return frame.reformat(format="gray")
    if pixels.is_planar and not pixels.name.startswith(("nv", "p0", "p2", "p4")):
        return frame
    deep = pixels.components[0].bits > 8
    return frame.reformat(format="yuv444p10le" if deep else "yuv444p", **_colours(frame, to_rgb=False))


def _rgb(frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    return np.asarray(frame.reformat(format="rgb24", **_colours(frame)).to_ndarray())


def is_full_range(frame: Any) -> bool:
    """Whether black and white are the ends of the scale, as in a photograph, and not 16 and 235, as on television."""
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gray"))


def _colours(frame: Any, to_rgb: bool = True) -> dict[str, Any]:
    """How the frame's colours are to be read; nothing for one that holds red, green and blue or grey."""
    if frame.format.is_rgb or frame.format.has_palette or len(frame.format.components) < 3:
        return {}
    usual = Colorspace.ITU709 if frame.height >= HIGH_DEFINITION else Colorspace.ITU601
    matrix = MATRICES.get(int(frame.colorspace), usual)
    span = ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG
    kept = {} if to_rgb else {"dst_colorspace": matrix, "dst_color_range": span}
    return {"src_colorspace": matrix, "src_color_range": span, **kept}


def _tell(frame: Any, channels: int, notes: Notes) -> None:
    pixels = frame.format
    bits = pixels.components[0].bits
    if bits > 8:
        notes.converted("depth", f"{bits} bits a sample, to 8")
    if pixels.is_rgb or pixels.name.startswith("gray"):
        coloured = pixels.is_rgb
    else:
        full = is_full_range(frame)
        notes.converted("range", "full, taken as it is" if full else "limited (16 to 235), stretched to 0 to 255")
        coloured = True
    if coloured and channels == 1 and "colour" not in notes.conversions and _has_colour(frame):
        notes.converted("colour", "to grey levels, the luma, as in training; the forecast is grey")
    if not coloured and channels == 3:
        notes.converted("colour", "grey, repeated in red, green and blue")


def _has_colour(frame: Any) -> bool:
    rgb = _rgb(frame).astype(np.int16)
    return bool((rgb.max(axis=-1) - rgb.min(axis=-1)).max() > 8)
