"""A clip brought to what a system was trained on: its rate, its frame size, its range of values.

Observed frames and the frames after them, which are the truth of the forecast, take the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from framecast.data.base import Dataset
from framecast.data.formats.video import Resize, resized
from framecast.errors import UserError
from framecast.predict import arrays, image_folders, video_files
from framecast.predict.notes import Notes
from framecast.predict.pictures import Picture

FITS = ("stretch", "pad", "crop")

#: Frames a second of the kinds of dataset that were recorded; of Human3.6M's stored images, before subsampling.
RATES = {"kth": 25.0, "human36m": 10.0}
SAME_RATE = 0.01  #: rates closer than this share are one
JITTER = 0.02  #: of a step, by which time stamps of a constant rate may differ,
TICK = 1.01e-3  #: seconds, or by this much, as Matroska counts in milliseconds
CUT, OUTSTANDING = 0.1, 5.0  #: a cut changes a pixel by this on average (0 to 1), and so many times the usual change
SERIES = (".csv", ".npy", ".npz")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a clip."""

    fps: float | None = None
    fit: str = FITS[0]
    start: int = 1  #: the first observed frame, from 1, at the rate of the system
    last: bool = False  #: observe the clip's last frames instead
    axes: str = ""
    column: str = ""

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise UserError(f"--fit: found {self.fit}; allowed: {', '.join(FITS)}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UserError(f"--fps: found {self.fps:g}; allowed: a number above 0, at most 1000")
        if self.start < 1:
            raise UserError(f"--start: found {self.start}; allowed: 1, the first frame, or a later one")
        if self.last and self.start > 1:
            raise UserError("--start and --last: found both; allowed: one of them")


@dataclass(frozen=True)
class Clip:
    """Observed frames (T, *frame) and those known after them (K′, *frame), in [0, 1] where the clip is a video.

    A value of the file is ``low + value · (high − low)``; of a video these are 0 and 1.
    """

    context: Float32[np.ndarray, "t *frame"]
    truth: Float32[np.ndarray, "k *frame"]
    first: int  #: number of the first observed frame, from 1
    rate: float | None  #: frames a second
    low: float = 0.0
    high: float = 1.0


def read(path: Path, data: Dataset, kind: str, observed: int, horizon: int, wanted: Wanted, notes: Notes) -> Clip:
    """The part of a clip that is observed and forecast, as the dataset's systems know it.

    Raises UserError when the file cannot be read, is not of a kind that the systems forecast, or has fewer frames than
    are observed.
    """
    if not path.exists():
        raise UserError(f"{path}: expected a clip, found no such file or folder")
    _refuse_what_does_not_apply(path, len(data.frame_shape) == 3, wanted)
    if len(data.frame_shape) == 1:
        return _series(path, data.frame_shape[0], observed, horizon, wanted, notes)
    channels, size = data.frame_shape[0], data.frame_shape[-1]
    enough = wanted.start - 1 + observed + horizon
    rate = wanted.fps or _rate(data, kind)
    source = _source(path, channels, wanted, notes)
    fitted = (_fitted(picture, size, data, wanted.fit, notes) for picture in source)
    frames, times = _gathered(fitted, None if wanted.last else enough, rate)
    chosen, rate, resampled_from = _timeline(times, rate, notes, asked=wanted.fps is not None)
    first = _first(path, len(chosen), observed, wanted)
    used = chosen[first - 1 : first - 1 + observed + horizon]
    if resampled_from:
        notes.converted("rate", f"{resampled_from}, resampled by time stamps to {_number(rate)}: {_kept(used)}")
    part = np.stack([frames[index] for index in used])
    sequence = part.astype(np.float32) / 255
    _warn_of_cuts(sequence, first, observed, notes)
    return Clip(sequence[:observed], sequence[observed:], first, rate)


def _refuse_what_does_not_apply(path: Path, is_video: bool, wanted: Wanted) -> None:
    """An option that would change nothing was meant for another clip or another system."""
    is_array = path.suffix.lower() in (".npy", ".npz")
    for option, is_given, applies, meant_for in (
        ("--fps", wanted.fps is not None, is_video, "a system of video"),
        ("--fit", wanted.fit != FITS[0], is_video, "a system of video"),
        ("--axes", bool(wanted.axes), is_video and is_array, "frames in .npy or .npz"),
        ("--column", bool(wanted.column), not is_video and not is_array, "a series in .csv"),
    ):
        if is_given and not applies:
            raise UserError(f"{option}: found with {path}; allowed: with {meant_for}")


def _source(path: Path, channels: int, wanted: Wanted, notes: Notes) -> Iterator[Picture]:
    suffix = path.suffix.lower()
    if path.is_dir():
        return image_folders.pictures(path, channels, notes)
    if suffix in (".npy", ".npz"):
        return arrays.pictures(arrays.load(path, notes), path, wanted.axes, channels, notes)
    if suffix in video_files.CONTAINERS:
        return video_files.pictures(path, channels, notes)
    allowed = ", ".join([*video_files.CONTAINERS, ".npy, .npz or a folder of images"])
    raise UserError(f"{path}: found {suffix or 'no suffix'}; allowed for a system of video: {allowed}")


def _rate(data: Dataset, kind: str) -> float | None:
    return RATES[kind] / getattr(data, "subsampling", 1) if kind in RATES else None


def _gathered(
    fitted: Iterator[tuple[UInt8[np.ndarray, "c s s"], float | None]], enough: int | None, rate: float | None
) -> tuple[list[np.ndarray], list[float | None]]:
    """Frames and their times, decoded no further than ``enough`` steps of the rate (None: the clip's own) reach."""
    frames: list[np.ndarray] = []
    times: list[float | None] = []
    for frame, seconds in fitted:
        frames.append(frame)
        times.append(seconds)
        if enough is not None and len(frames) >= enough and _steps(times, rate) >= enough:
            break
    return frames, times


def _steps(times: Sequence[float | None], rate: float | None) -> float:
    """How many steps of a rate, by default of the usual one, lie between the first frame and the last."""
    begin, end = times[0], times[-1]
    if begin is None or end is None or len(times) < 2:
        return float(len(times))
    if rate is None:
        rate = 1 / max(float(np.median(np.diff(np.array(times, np.float64)))), 1e-6)
    return (end - begin) * rate + 1e-6


def _first(path: Path, count: int, observed: int, wanted: Wanted) -> int:
    first = count - observed + 1 if wanted.last else wanted.start
    if count < observed or first + observed - 1 > count:
        after = f" from frame {wanted.start} on" if wanted.start > 1 else ""
        has = f"{max(0, count - wanted.start + 1)} frame{'s' * (count - wanted.start != 0)}{after}"
        raise UserError(f"{path}: expected at least {observed} frames, which the system observes, found {has}")
    return first


# --- size -------------------------------------------------------------------------------------------


def _fitted(
    picture: Picture, size: int, data: Dataset, fit: str, notes: Notes
) -> tuple[UInt8[np.ndarray, "c s s"], float | None]:
    """A picture in the size of the systems' frames, resampled as the dataset's own clips are."""
    pixels = picture.levels
    height, width = pixels.shape[1:]
    if (height, width) == (size, size) and (fit == "stretch" or picture.aspect == 1):
        return pixels, picture.seconds
    how: Resize = getattr(data, "resize", "area")
    shown = height / (width * picture.aspect)  # height / width as it is to be seen
    told = f"{width}×{height} to {size}×{size}"
    if fit == "stretch" or abs(shown - 1) < 0.01:
        squeezed = "" if abs(shown - 1) < 0.01 else ", each side by itself (--fit pad or crop keeps the shape)"
        notes.converted("size", f"{told}{squeezed}")
    elif fit == "pad":
        pixels = _padded(pixels, shown)
        notes.converted("size", f"{told}, with black {'beside' if shown > 1 else 'above and below'} it")
    else:
        pixels = _cropped(pixels, shown)
        notes.converted("size", f"{told}, of which the middle {pixels.shape[2]}×{pixels.shape[1]} is kept")
    return resized(pixels, size, how), picture.seconds


def _padded(pixels: UInt8[np.ndarray, "c h w"], shown: float) -> UInt8[np.ndarray, "c h2 w2"]:
    """The whole picture in the middle of a square one."""
    height, width = pixels.shape[1:]
    across = round(width * shown) - width if shown > 1 else 0
    down = round(height / shown) - height if shown < 1 else 0
    return np.pad(pixels, ((0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2)))


def _cropped(pixels: UInt8[np.ndarray, "c h w"], shown: float) -> UInt8[np.ndarray, "c h2 w2"]:
    """The square in the middle of a picture."""
    height, width = pixels.shape[1:]
    rows = max(1, round(height / shown)) if shown > 1 else height
    columns = max(1, round(width * shown)) if shown < 1 else width
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[:, top : top + rows, left : left + columns]


# --- time -------------------------------------------------------------------------------------------


def _timeline(
    times: Sequence[float | None], target: float | None, notes: Notes, *, asked: bool
) -> tuple[list[int], float | None, str]:
    """Which frame is seen at each step of the system's rate, that rate (None where nobody knows it), and the clip's own
    rate in words where it is another.

    A step t₀ + k / rate shows the frame that a player would show then. Without a rate of its own the system takes the
    frames as they come, but for a clip whose rate varies: at the rate that most of its frames have.
    """
    every = list(range(len(times)))
    stamps = np.array([np.nan if time is None else time for time in times], np.float64)
    steps = np.diff(stamps)
    if len(times) < 2 or not np.isfinite(stamps).all() or (steps <= 0).any():
        if asked or target:
            notes.converted("rate", "the frames have no time stamps; each is taken as one step")
        return every, target, ""
    usual = float(np.median(steps))
    is_constant = bool((np.abs(steps - usual) <= max(JITTER * usual, TICK)).all())
    own = float((len(steps)) / (stamps[-1] - stamps[0])) if is_constant else 1 / usual
    if is_constant and (target is None or abs(own / target - 1) < SAME_RATE):
        if target is None:
            notes.converted("rate", f"{_number(own)} frames a second, each frame taken as one step (--fps resamples)")
        return every, own, ""
    rate = target or own
    seconds = stamps[-1] + usual - stamps[0]
    shown = stamps[0] + np.arange(max(1, int(seconds * rate + 1e-6))) / rate
    chosen = (np.searchsorted(stamps, shown + min(6e-4, usual / 4), side="right") - 1).clip(0).tolist()
    return chosen, rate, f"{_number(own)} frames a second" if is_constant else "a variable rate"


def _kept(used: Sequence[int]) -> str:
    """What became of the frames between the first that is used and the last."""
    frames, kept = used[-1] - used[0] + 1, len(set(used))
    return f"of {frames} frames {kept} kept, {frames - kept} dropped, {len(used) - kept} shown again"


def _number(rate: float | None) -> str:
    return f"{rate or 0:.2f}".rstrip("0").rstrip(".")


def _warn_of_cuts(sequence: Float32[np.ndarray, "n c h w"], first: int, observed: int, notes: Notes) -> None:
    """A cut is a change of the whole picture that stands out among the changes around it."""
    changes = np.abs(np.diff(sequence, axis=0)).mean(axis=(1, 2, 3))
    usual = np.median(changes) if len(changes) > 2 else changes.min(initial=0.0)
    for step in np.flatnonzero((changes > CUT) & (changes > OUTSTANDING * usual)).tolist():
        where = "among the observed frames" if step + 1 < observed else "among the frames that are forecast"
        told = (
            f"between frames {first + step} and {first + step + 1}, {where}; --start {first + step + 1} begins after it"
        )
        notes.warn("a cut", told)
        return


# --- series -----------------------------------------------------------------------------------------


def _series(path: Path, channels: int, observed: int, horizon: int, wanted: Wanted, notes: Notes) -> Clip:
    """Points as they are where all lie in [0, 1]; else so that the observed ones span it, as in training."""
    if path.suffix.lower() not in SERIES or path.is_dir():
        found = "a folder" if path.is_dir() else path.suffix or "no suffix"
        raise UserError(f"{path}: found {found}; allowed for a system of series: {', '.join(SERIES)}")
    points = arrays.series(path, channels, wanted.column, notes)
    first = _first(path, len(points), observed, wanted)
    part = points[first - 1 : first - 1 + observed + horizon]
    low, high = 0.0, 1.0
    if part.min() < 0 or part.max() > 1:
        low, high = float(part[:observed].min()), float(part[:observed].max())
        if low == high:
            raise UserError(f"{path}: expected a series that moves, found {low:g} at all {observed} observed points")
        notes.converted(
            "values", f"{low:g} to {high:g}, which the observed points span, to 0 to 1; and back on writing"
        )
    scaled = ((part - low) / (high - low)).astype(np.float32)
    return Clip(scaled[:observed], scaled[observed:], first, None, low, high)
