"""Frames of a video file, upright, each with the time at which it is shown.

A file is opened as what its name says and as nothing else, since other containers may name further files and addresses
to be read.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8

from framecast.data.formats.video import DECODER_ERRORS
from framecast.errors import UserError
from framecast.predict.notes import Notes
from framecast.predict.pictures import Picture, levels

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".avi": "avi", ".mkv": "matroska", ".webm": "matroska"}
CONTAINERS |= {".gif": "gif"}
HDR = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}  #: transfer characteristics whose levels mean other things
TO_SDR = (
    "ffmpeg -i {name} -vf zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p sdr.mp4"
)
MOST_TOLD = 120  #: characters of what a decoder reports
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  #: FFmpeg's own decoders of these leave the alpha plane out


def pictures(path: Path, channels: int, notes: Notes) -> Iterator[Picture]:
    """The frames of a video file in the order in which they are shown.

    Raises UserError when the file is not what its name says, holds no video, is HDR, changes its size on the way, or
    cannot be decoded any further.
    """
    count = 0
    try:
        with _complaints(notes), av.open(str(path), format=CONTAINERS[path.suffix.lower()]) as container:
            stream = _stream(container, path, notes)
            for frame in _decoded(container, stream, notes):
                if count == 0:
                    shape = frame.height, frame.width
                    _refuse_hdr(frame, stream, path)
                count += 1
                if (frame.height, frame.width) != shape:
                    raise UserError(
                        f"{path}: expected frames of one size, found {_size(*shape)} and from frame {count} on "
                        f"{_size(frame.height, frame.width)}; cut the clip there"
                    )
                _warn(frame, count, notes)
                pixels, aspect = _upright(levels(frame, channels, str(path), notes), frame, stream, path, notes)
                yield Picture(pixels, frame.time, aspect)
    except DECODER_ERRORS as error:
        told = " ".join(str(error).split())
        found = f"an error after frame {count}: {told}" if count else told
        raise UserError(f"{path}: expected a video that is what its name says, found {found}") from None
    if not count:
        raise UserError(f"{path}: expected a video, found one without a frame")


@contextmanager
def _complaints(notes: Notes) -> Iterator[None]:
    """Pass on what a decoder only writes to its log: FFV1's finds a wrong checksum and shows the frame all the same."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture(local=True) as log:
        try:
            yield
        finally:
            av.logging.set_level(before)
            if log:
                told = " ".join(word for *_, line in log for word in line.split())
                notes.warn("decoder", f"it reports {shorten(told, MOST_TOLD, placeholder=' …')}")


def _size(height: int, width: int) -> str:
    return f"{width}×{height}"


def _stream(container: Any, path: Path, notes: Notes) -> Any:
    """The video stream of a file; what else lies in it is said."""
    stream = container.streams.best("video")
    if stream is None:
        raise UserError(f"{path}: expected a video, found {container.format.long_name} without one")
    if stream.codec_context is None:
        raise UserError(f"{path}: expected a video that FFmpeg decodes, found one in a codec that it does not know")
    stream.codec_context.thread_count = 1
    if sound := len(container.streams.audio):
        notes.converted("audio", f"dropped ({sound} track{'s' * (sound > 1)})")
    if (others := len(container.streams.video) - 1) > 0:
        notes.converted("streams", f"video stream {stream.index} is used, {others} more left out")
    return stream


def _decoded(container: Any, stream: Any, notes: Notes) -> Iterator[Any]:
    """The frames of a stream, with the alpha plane that VP8 and VP9 keep beside their packets where there is one."""
    decoder = WITH_ALPHA.get(stream.codec_context.codec.canonical_name)
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    has_alpha = decoder is not None and tags.get("alpha_mode") == "1"
    if has_alpha and decoder not in av.codecs_available:
        notes.warn("alpha", f"left out: it takes {decoder}, which this build of PyAV does not have")
    if not has_alpha or decoder not in av.codecs_available:
        yield from container.decode(stream)
        return
    context: Any = av.CodecContext.create(decoder, "r")
    context.extradata = stream.codec_context.extradata
    for packet in container.demux(stream):
        for frame in context.decode(packet if packet.size else None):
            frame.time_base = stream.time_base
            yield frame


def _refuse_hdr(frame: Any, stream: Any, path: Path) -> None:
    kind = HDR.get(int(frame.color_trc or 0)) or HDR.get(int(stream.codec_context.color_trc or 0))
    if kind:
        raise UserError(
            f"{path}: found HDR, {kind}; allowed: standard dynamic range; convert it: {TO_SDR.format(name=path.name)}"
        )


def _warn(frame: Any, count: int, notes: Notes) -> None:
    if frame.is_corrupt:
        notes.warn("damage", f"frame {count} is damaged; what the decoder filled in is used")
    if frame.interlaced_frame:
        notes.warn(
            "interlacing", "two fields make a frame, which shows as a comb where something moves; ffmpeg -vf bwdif"
        )


def _upright(
    pixels: UInt8[np.ndarray, "c h w"], frame: Any, stream: Any, path: Path, notes: Notes
) -> tuple[UInt8[np.ndarray, "c h2 w2"], float]:
    """The pixels as the file's display matrix says that they are to be seen, and the shape of one.

    A pixel (x, y) is shown at (a·x + c·y, b·x + d·y), up to where the origin lies.
    """
    ratio = stream.sample_aspect_ratio
    aspect = float(ratio) if ratio else 1.0
    stored = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return pixels, aspect
    a, b, _, c, d = struct.unpack("=9i", bytes(stored))[:5]
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if not min(straight, crossed) * 1000 < max(straight, crossed):
        raise UserError(
            f"{path}: found a clip to be turned by {frame.rotation}°; allowed: quarter turns; turn it first"
        )
    if straight > crossed:
        right, down = a, d
    else:
        pixels, right, down, aspect = pixels.swapaxes(1, 2), c, b, 1 / aspect
    if crossed > straight or right < 0 or down < 0:
        mirrored = " and mirrored" if a * d < b * c else ""
        notes.converted("rotation", f"by {frame.rotation % 360}° counter-clockwise{mirrored}, as the file says")
    return np.ascontiguousarray(pixels[:, :: 1 if down > 0 else -1, :: 1 if right > 0 else -1]), aspect
