"""KTH human actions: 25 people walk, jog, run, box, wave and clap in four scenarios (Schuldt, Laptev, Caputo 2004).

Clips of 160×120 grey pixels, 25 frames a second, squeezed into a square. Two protocols of the literature:

===========  =============================================  ===================================================
             ``persons`` (PredRNN, SimVP, OpenSTL)          ``coleman`` (SVG; Franceschi et al. 2020; Coleman 2022)
===========  =============================================  ===================================================
training     persons 1–14                                   persons 1–14, 17–20
validation   persons 15, 16                                 persons 15, 16
test         persons 17–25                                  persons 21–25
sequences    fixed windows, somebody in view                any clip, from any frame, also with nobody in view
===========  =============================================  ===================================================

The papers validate on nobody, or on the test; persons 15 and 16 are taken out of their training.
"""

import math
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from framecast.data.base import SPLITS, Dataset, Split, SplitName, counter_uniforms
from framecast.data.formats.kth_archives import REMEDY, Recordings, opened
from framecast.data.formats.kth_sequences import ACTIONS, Action, Clip, ClipName, Person, Scenario, Segment
from framecast.data.formats.video import resized
from framecast.data.generated.human_figures import write_stand_in
from framecast.data.shared.streams import Stream, StreamedPrepared
from framecast.errors import UserError
from framecast.ranges import Distinct, NonEmptyDistinct, NonNegativeInt, Pixels, PositiveInt

FRAMES = "video"
SIDE = "frame_size"
RAW_INDEX = "kth/SHA256SUMS"
RAW_SOURCES = (({"source": "official"}, ("kth",)),)

DISJOINT = ("train_persons", "validation_persons", "test_persons")  #: nobody is in two of them
#: Persons of each split where nothing else is said.
STATED: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {
    "variant": {
        "persons": {
            "train_persons": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
            "validation_persons": (15, 16),
            "test_persons": (17, 18, 19, 20, 21, 22, 23, 24, 25),
        },
        "coleman": {
            "train_persons": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20),
            "validation_persons": (15, 16),
            "test_persons": (21, 22, 23, 24, 25),
        },
    },
}
Window = tuple[Clip, int]  # and its first frame, from 1
Stored = Mapping[Clip, Sequence[tuple[Segment, int]]]  # which frames of a clip lie where

DENSE = ("jogging", "running")  #: soon out of view; PredRNN takes a window every 3 frames
DENSE_STRIDE = 3
#: Windows of ``persons`` by their frames, where nothing else is said: what the published ranges give.
PUBLISHED_WINDOWS: dict[int, dict[SplitName, int]] = {
    20: {"train": 10_714, "validation": 1_672, "test": 7_113},
    30: {"train": 7_580, "validation": 1_203, "test": 5_045},
    50: {"train": 3_637, "validation": 590, "test": 2_496},
}
TEST_SEED, VALIDATION_SEED = 42, 43  #: of NumPy's legacy generator; the first is the published one
DRAWN: dict[SplitName, int] = {"train": 100_000, "validation": 200, "test": 200}  #: sequences that ``coleman`` draws

BLOCK = 256  #: frames that are resized together
ORIGINS = {
    "official": "KTH human actions (Schuldt, Laptev and Caputo 2004)",
    "stand-in": "walking, running, waving figures drawn by framecast, stored and read like KTH",
}


# --- windows --------------------------------------------------------------------------------------


def runs(segments: Iterable[Segment]) -> list[Segment]:
    """The same frames as ranges that neither touch nor overlap, in order."""
    joined: list[Segment] = []
    for first, last in sorted(segments):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def windows(segments: Iterable[Segment], length: int, stride: int) -> list[int]:
    """First frames, in order, of the windows of ``length`` frames that PredRNN takes from a clip.

    It scans the clip's frames from the last one, takes every window without a gap, and goes back by ``stride`` frames
    after it. Ranges that touch are one.
    """
    found: list[int] = []
    for first, last in runs(segments):
        found += range(last - length + 1, first - 1, -stride)
    return sorted(found)


def legacy_draws(
    seed: int,
    frames: Mapping[Clip, int],
    length: int,
    persons: Sequence[int],
    actions: Sequence[str],
    scenarios: Sequence[int],
) -> Iterator[Window]:
    """How SVG's test set was drawn, with NumPy's legacy generator: action, person, scenario, first frame. Endless.

    Each is uniform over what is listed, the first frame over those of the clip's ``frames`` that leave room for
    ``length``. A draw that falls on a clip that is not there, or is too short, is drawn anew; of the published test
    clips none is.
    """
    generator = np.random.RandomState(seed)
    while True:
        action = actions[generator.randint(len(actions))]
        person = persons[generator.randint(len(persons))]
        clip = Clip(action, person, scenarios[generator.randint(len(scenarios))])
        if (room := frames.get(clip, 0) - length + 1) > 0:
            yield clip, 1 + int(generator.randint(room))


# --- splits ---------------------------------------------------------------------------------------


class WindowSplit(Split):
    """Windows of a long row of frames (F, 1, S, S) uint8, by the index of their first one.

    The frames stay on disk as a memory map; only the asked-for ones are read. Windows may overlap.
    """

    def __init__(self, frames: Tensor, starts: Tensor, length: int, device: torch.device) -> None:
        self.frames = frames
        self.starts = starts
        self.length = length
        self.device = device

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Float[Tensor, "b t 1 s s"]:
        """Windows ``indices``, in [0, 1]; the same in every epoch."""
        rows = self.starts[torch.as_tensor(indices)][:, None] + torch.arange(self.length)  # (B, T)
        return self.frames[rows].to(self.device).float() / 255


class FreshWindows(WindowSplit):
    """A window of a random clip from a random frame, drawn anew in every epoch: e · len + i is the number of its draw.

    ``clips`` (C, 2): first frame and number of frames of each clip, none shorter than a window.
    """

    def __init__(
        self, frames: Tensor, clips: Tensor, length: int, device: torch.device, *, seed: int, count: int
    ) -> None:
        self.clips, self.seed, self.count, self.epoch = clips, seed, count, 0
        super().__init__(frames, self._drawn(length), length, device)

    def _drawn(self, length: int) -> Tensor:
        uniforms = torch.from_numpy(
            counter_uniforms(self.seed, SPLITS.index("train"), self.epoch * self.count, self.count, 2)
        )
        first, frames = self.clips[(len(self.clips) * uniforms[:, 0]).long()].unbind(1)
        return first + ((frames - length + 1) * uniforms[:, 1]).long()

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Float[Tensor, "b t 1 s s"]:
        """Windows ``epoch · len + indices``, in [0, 1]."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.starts = self._drawn(self.length)
        return super().batch(indices)


# --- the dataset ----------------------------------------------------------------------------------


class KTH(Dataset):
    """Frames (1, frame_size, frame_size) of people who move, values in [0, 1].

    ``variant="persons"``: windows of context + horizon frames within the ranges of ``00sequences.txt``, as PredRNN
    takes them: scanning a clip from its end, without overlap; of jogging and running, who are soon out of view, one
    every 3 frames. ``train``, ``validation``, ``test`` keep that many of them, evenly spaced; None keeps all. PredRNN
    reads a release as images, from which more frames were removed than the ranges say: 5 200 windows of 30 frames of
    persons 1–16 and 3 167 of 17–25, where the ranges give 8 783 and 5 045.

    ``variant="coleman"``: training draws ``train`` sequences an epoch (100 000) from the cell's seed; ``test`` (200)
    are the first of the published draws, ``validation`` (200) are drawn in the same way with another seed.

    ``resize``: ``area`` or ``bilinear`` (``data/formats/video.py``). PredRNN's is bilinear; SVG's was FFmpeg's bicubic,
    which is neither.

    ``source``: ``official`` reads the six published archives, or what is listed in ``data/raw/kth/SHA256SUMS``;
    ``stand-in`` draws figures (``data/generated/human_figures.py``) for the persons that are asked for, and reads them
    like the published files. ``train_persons``, ``validation_persons`` (may be none) and ``test_persons`` replace the
    variant's, and no person may be in two of them; ``actions`` and ``scenarios`` keep fewer. ``clips="present"`` takes
    what is there of the wanted clips, for a sample of the set, and ranges of one's own; ``leave_out`` names
    clips that shall not be read.

    Stored: ``{split}_frames`` (F, 1, S, S) uint8, ``{split}_starts`` (N,) and ``{split}_group`` (N,), the person of
    each window, with whom all of theirs are resampled; for ``coleman``'s training ``train_clips`` (C, 2) instead of the
    last two.
    """

    def __init__(
        self,
        *,
        context: PositiveInt = 10,
        horizon: PositiveInt = 10,
        variant: Literal["persons", "coleman"] = "persons",
        source: Literal["official", "stand-in"] = "official",
        frame_size: Pixels = 64,
        resize: Literal["area", "bilinear"] = "area",
        train_persons: NonEmptyDistinct[Person] | None = None,
        validation_persons: Distinct[Person] | None = None,
        test_persons: NonEmptyDistinct[Person] | None = None,
        actions: NonEmptyDistinct[Action] | None = None,
        scenarios: NonEmptyDistinct[Scenario] = (1, 2, 3, 4),
        clips: Literal["all", "present"] = "all",
        leave_out: Distinct[ClipName] = (),
        train: PositiveInt | None = None,
        validation: PositiveInt | None = None,
        test: PositiveInt | None = None,
        data_seed: NonNegativeInt = 0,
    ) -> None:
        self.context, self.horizon = context, horizon
        self.frame_shape = (1, frame_size, frame_size)
        self.variant, self.source = variant, source
        self.frame_size, self.resize = frame_size, resize
        asked = dict(zip(SPLITS, (train_persons, validation_persons, test_persons), strict=True))
        self.persons = {
            split: STATED["variant"][variant][f"{split}_persons"] if persons is None else tuple(persons)
            for split, persons in asked.items()
        }
        self.actions = ACTIONS if actions is None else tuple(actions)
        self.scenarios = tuple(scenarios)
        self.clips = clips
        self.leave_out = tuple(leave_out)
        self.sizes: dict[SplitName, int | None] = {"train": train, "validation": validation, "test": test}
        if variant == "coleman":
            self.sizes = {split: size or DRAWN[split] for split, size in self.sizes.items()}
        self.data_seed = data_seed

    @property
    def length(self) -> int:
        """Frames of a sequence."""
        return self.context + self.horizon

    def wanted(self, split: SplitName) -> list[Clip]:
        """The clips that a split asks for, in the order of their names."""
        return sorted(
            clip
            for person in self.persons[split]
            for action in self.actions
            for scenario in self.scenarios
            if str(clip := Clip(action, person, scenario)) not in self.leave_out
        )

    def prepare(self, raw: Path) -> StreamedPrepared:
        """Decode the clips, keep the frames that sequences need.

        One clip is in memory at a time; the frames of a split gather in a temporary file (of a folder that ``TMPDIR``
        names). Raises UserError: a raw file is missing, altered, or no clip by its name; a clip cannot be decoded to
        its end, or a range lies beyond it; the ranges of the whole set are not the published ones; a split without a
        sequence.
        """
        arrays: dict[str, np.ndarray] = {}
        streams: dict[str, Stream] = {}
        counts: dict[SplitName, int] = {}
        with self._recordings(raw) as recordings:
            self._refuse_other_ranges(recordings.segments)
            for split in SPLITS:
                clips = self._found(split, recordings)
                counts[split] = len(clips)
                indices, streams[f"{split}_frames"] = self._arrays(split, clips, recordings)
                arrays |= {f"{split}_{name}": array for name, array in indices.items()}
        facts = {
            "source": self.source,
            "origin": ORIGINS[self.source],
            "persons": {split: list(persons) for split, persons in self.persons.items()},
            "clips": counts,
            "concealed_frames": recordings.concealed,
        }
        return StreamedPrepared(arrays, facts, streams)

    @contextmanager
    def _recordings(self, raw: Path) -> Iterator[Recordings]:
        if self.source == "official":
            with opened(raw / "kth") as recordings:
                yield recordings
        else:
            with tempfile.TemporaryDirectory(prefix="framecast-kth-") as folder:
                write_stand_in(Path(folder), (clip for split in SPLITS for clip in self.wanted(split)), self.data_seed)
                with opened(Path(folder)) as recordings:
                    yield recordings

    def _refuse_other_ranges(self, segments: Mapping[Clip, Sequence[Segment]]) -> None:
        """Whoever asks for the published windows gets as many; ``clips="present"`` asks for what is there."""
        whole = (set(self.actions), set(self.scenarios), self.leave_out) == (set(ACTIONS), {1, 2, 3, 4}, ())
        if (self.source, self.variant, self.clips) != ("official", "persons", "all") or not whole:
            return
        for split, expected in PUBLISHED_WINDOWS.get(self.length, {}).items():
            if set(self.persons[split]) != set(STATED["variant"]["persons"][f"{split}_persons"]):
                continue
            found = sum(len(self._starts(clip, segments.get(clip, ()))) for clip in self.wanted(split))
            if found != expected:
                raise UserError(
                    f"kth: {split}: expected {expected} windows of {self.length} frames, as the published ranges give, "
                    f"found {found}: 00sequences.txt is not the published one; put that back, or say clips: present "
                    "for ranges of your own"
                )

    def _found(self, split: SplitName, recordings: Recordings) -> list[Clip]:
        """The wanted clips that are not marked missing; all of them must be there, unless ``clips`` says otherwise."""
        listed, wanted = recordings.segments, self.wanted(split)
        if unlisted := [clip for clip in wanted if clip in recordings.places and not listed.get(clip)]:
            raise UserError(
                f"kth: {recordings.places[unlisted[0]][0]}: expected its ranges in 00sequences.txt, found none"
            )
        clips = [clip for clip in wanted if listed.get(clip, ()) != () or clip not in listed]
        absent = [clip for clip in clips if clip not in recordings.places]
        if absent and self.clips == "all":
            raise UserError(
                f"kth: {split}: expected {absent[0]} and {len(clips) - 1} more clips, found {len(absent)} missing; "
                f"{REMEDY}; or say clips: present"
            )
        return [clip for clip in clips if clip in recordings.places]

    def _arrays(
        self, split: SplitName, clips: list[Clip], recordings: Recordings
    ) -> tuple[dict[str, np.ndarray], Stream]:
        """Where the sequences of one split begin, and its frames."""
        if self.variant == "coleman":
            lengths = {clip: recordings.length(clip) for clip in clips}
            long = {clip: frames for clip, frames in lengths.items() if frames >= self.length}
            if split == "train" and long:
                stored, frames = self._stored({clip: [(1, end)] for clip, end in long.items()}, recordings)
                rows = [(at, end) for ((_, end), at), *_ in stored.values()]
                return {"clips": np.array(rows, np.int64)}, frames
            draws = legacy_draws(
                TEST_SEED if split == "test" else VALIDATION_SEED,
                long,
                self.length,
                self.persons[split],
                self.actions,
                self.scenarios,
            )
            chosen = list(islice(draws, self.sizes[split])) if long else []
        else:
            chosen = _evenly(
                [window for clip in clips for window in self._windows(clip, recordings)], self.sizes[split]
            )
        if not chosen and self.persons[split]:
            raise UserError(
                f"kth: {split}: found no {self.length} frames in a row in {len(clips)} clips; allowed: shorter "
                "context + horizon, other persons, actions or scenarios"
            )
        keep: dict[Clip, list[Segment]] = {}
        for clip, first in chosen:
            keep.setdefault(clip, []).append((first, first + self.length - 1))
        stored, frames = self._stored({clip: runs(keep[clip]) for clip in sorted(keep)}, recordings)
        starts = np.array([_place(stored[clip], first) for clip, first in chosen], np.int64)
        return {"starts": starts, "group": np.array([clip.person for clip, _ in chosen], np.int32)}, frames

    def _windows(self, clip: Clip, recordings: Recordings) -> list[Window]:
        """PredRNN's windows of a clip. Raises UserError when a range ends after the clip."""
        segments = recordings.segments[clip]
        first, last = max(segments, key=lambda segment: segment[1])
        if (frames := recordings.length(clip)) < last:
            raise UserError(
                f"kth: {recordings.places[clip][0]}: expected {last} frames, as 00sequences.txt lists {first}-{last}, "
                f"found {frames}; mend the file, or leave the clip out (leave_out: [{clip}])"
            )
        return [(clip, start) for start in self._starts(clip, segments)]

    def _starts(self, clip: Clip, segments: Sequence[Segment]) -> list[int]:
        """First frames of PredRNN's windows of a clip with these ranges."""
        return windows(segments, self.length, DENSE_STRIDE if clip.action in DENSE else self.length)

    def _stored(self, keep: Mapping[Clip, Sequence[Segment]], recordings: Recordings) -> tuple[Stored, Stream]:
        """These frames of these clips on disk, and where each range begins there."""
        stored: dict[Clip, list[tuple[Segment, int]]] = {}
        count = 0
        with tempfile.TemporaryFile(prefix="framecast-kth-") as file:
            for clip, ranges in keep.items():
                for segment in ranges:
                    stored.setdefault(clip, []).append((segment, count))
                    count += segment[1] - segment[0] + 1
                frames = _within(recordings.frames(clip), ranges)
                while block := list(islice(frames, BLOCK)):
                    file.write(resized(np.stack(block), self.frame_size, self.resize).tobytes())
            file.flush()
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if count else b""
        shape = (count, *self.frame_shape)
        return stored, Stream(shape, partial(_blocks, content, shape))

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> Split:
        """Open a split. ``seed`` draws the training windows of ``coleman``; everything else is fixed."""
        frames = arrays[f"{name}_frames"]
        if "train_clips" in arrays and name == "train":
            count = self.sizes["train"] or 0
            return FreshWindows(frames, arrays["train_clips"], self.length, device, seed=seed, count=count)
        return WindowSplit(frames, arrays[f"{name}_starts"], self.length, device)


def _within(frames: Iterator[np.ndarray], ranges: Sequence[Segment]) -> Iterator[np.ndarray]:
    """The frames of these ranges, which are in order and apart. The rest is decoded too: a clip must be whole."""
    for number, frame in enumerate(frames, start=1):
        if any(first <= number <= last for first, last in ranges):
            yield frame


def _blocks(content: mmap.mmap | bytes, shape: tuple[int, ...]) -> Iterator[UInt8[np.ndarray, "f 1 s s"]]:
    """Frames of a file, which lives as long as it is mapped; what was read does not stay in memory."""
    size = BLOCK * math.prod(shape[1:])
    for start in range(0, len(content), size):
        yield np.frombuffer(content[start : start + size], np.uint8).reshape(-1, *shape[1:])
        if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            content.madvise(mmap.MADV_DONTNEED)


def _place(stored: Sequence[tuple[Segment, int]], frame: int) -> int:
    """Where a frame lies."""
    return next(at + frame - first for (first, last), at in stored if first <= frame <= last)


def _evenly(found: list[Window], count: int | None) -> list[Window]:
    """``count`` of them, evenly spaced from the first to the last; all where there are no more."""
    if count is None or count >= len(found):
        return found
    return [found[at] for at in np.linspace(0, len(found) - 1, count).round().astype(int)]
