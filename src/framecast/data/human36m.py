"""Human3.6M: people who do everyday things in a room, seen by four cameras (Ionescu et al., TPAMI 2014).

The images are licensed to each user and may not be passed on, so nothing here fetches them: the user's own tree of
extracted JPEGs (``formats/human36m_images.py``) is read. The studies that forecast it differ:

================  =====================================  ==========================================
..                MIM (and PhyDNet, SimVP)               SRVP
================  =====================================  ==========================================
``actions``       Walking                                unknown; here all
``crop``          ``central``: the middle half each way  ``none``, as its figures show
``frame_size``    128                                    100
``subsampling``   2: every second stored image, 5 a second, 4 + 4 of them (of SRVP unknown)
subjects          1, 5, 6, 7, 8 to train, 9 and 11 to test (of SRVP unknown); here 8 validates
================  =====================================  ==========================================
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int32
from PIL import Image
from torch import Tensor

from framecast.artifacts import sha256_of
from framecast.data.base import Dataset, SplitName
from framecast.data.formats.human36m_images import STEP, Camera, Subject, Video, in_videos, read_image
from framecast.data.formats.sha256sums import read_sums
from framecast.data.generated import figure_in_a_room
from framecast.data.shared.streams import Stream, StreamedPrepared
from framecast.data.shared.windows import WindowSplit
from framecast.errors import UserError
from framecast.ranges import Distinct, NonEmptyDistinct, NonNegativeInt, Pixels, PositiveInt

FRAMES = "video"
SIDE = "frame_size"
RAW_INDEX = "human36m/SHA256SUMS"
RAW_SOURCES = (({"source": "official"}, ("human36m",)),)

FITS = (
    "images > (context + horizon - 1) * subsampling if source == 'stand-in'",
    "set(actions) <= {'Directions', 'Discussion', 'Greeting', 'Purchases', 'WalkDog', 'Walking'} "
    "if source == 'stand-in'",
)
DISJOINT = ("train_subjects", "validation_subjects", "test_subjects")  #: nobody is in two of them
ORIGINS = {
    "official": "Human3.6M (Ionescu, Papava, Olaru, Sminchisescu), images extracted by the user",
    "stand-in": "a coloured figure in a room, drawn by framecast as a tree of JPEG images like that of Human3.6M",
}
REMEDY = "run `framecast fetch human36m`, which tells where to register and lists the images that are there"
JPEG_QUALITY = 95

Images = dict[int, str]  # frame number → name of its image


class Human36M(Dataset):
    """Frames (3, frame_size, frame_size), RGB, values in [0, 1].

    A sequence is context + horizon stored images of one video, ``subsampling`` images apart, with no frame number
    missing between them. Sequences begin every ``train_stride`` stored images of the training videos, and every
    ``test_stride`` of the others. ``actions`` names those that are used, without the number of the take (none: all,
    except what begins with ``_ALL``), ``cameras`` the cameras by their ids (none: all). A subject is in one split only.

    ``source="official"`` reads the images that ``data/raw/human36m/SHA256SUMS`` lists, each checked by its sha256.
    ``source="stand-in"`` draws a figure, two takes of six actions and four cameras, ``images`` of each, twice as large
    as ``frame_size``; writes them as such a tree and reads it back.

    Stored for each split: ``<split>_frames`` (F, 3, S, S) uint8, every frame that a sequence shows, once;
    ``<split>_rows`` (N, T), which of them each sequence shows; ``<split>_group`` (N,), the take that it is from, which
    is the same for all cameras, as they film it at once; ``<split>_subject`` (N,).
    """

    def __init__(
        self,
        *,
        context: PositiveInt = 4,
        horizon: PositiveInt = 4,
        source: Literal["official", "stand-in"] = "official",
        crop: Literal["none", "central"] = "none",
        frame_size: Pixels = 100,
        actions: Distinct[str] = (),
        cameras: Distinct[Camera] = (),
        train_subjects: NonEmptyDistinct[Subject] = (1, 5, 6, 7),
        validation_subjects: NonEmptyDistinct[Subject] = (8,),
        test_subjects: NonEmptyDistinct[Subject] = (9, 11),
        subsampling: PositiveInt = 2,
        train_stride: PositiveInt = 10,
        test_stride: PositiveInt = 5,
        images: PositiveInt = 200,
        data_seed: NonNegativeInt = 0,
    ) -> None:
        self.context, self.horizon = context, horizon
        self.frame_shape = (3, frame_size, frame_size)
        self.source, self.crop, self.frame_size = source, crop, frame_size
        self.actions, self.cameras = tuple(actions), tuple(cameras)
        self.subjects: dict[SplitName, tuple[int, ...]] = {
            "train": tuple(train_subjects),
            "validation": tuple(validation_subjects),
            "test": tuple(test_subjects),
        }
        self.subsampling, self.images, self.data_seed = subsampling, images, data_seed
        self.strides: dict[SplitName, int] = {"train": train_stride, "validation": test_stride, "test": test_stride}

    def prepare(self, raw: Path) -> StreamedPrepared:
        """Frames, sequences and groups of the three splits; of the frames, one image at a time is in memory.

        Raises UserError: no list of images, a name in it that does not fit or is no file, an action or camera of which
        there is none, a split without a sequence, and, while the images are read, one that is altered or no JPEG.
        """
        videos, sums = self._drawn_names() if self.source == "stand-in" else self._listed(raw)
        chosen = self._chosen(videos)
        streams, shown = {}, {}
        arrays: dict[str, np.ndarray] = {}
        for split, subjects in self.subjects.items():
            own = {video: images for video, images in chosen.items() if video.subject in subjects}
            windows = {video: self.windows(images, self.strides[split]) for video, images in own.items()}
            shown[split] = [f"{video.subject}_{video.take}.{video.camera}" for video in windows if len(windows[video])]
            if not shown[split]:
                raise UserError(
                    f"human36m: expected {split} sequences of subjects {', '.join(map(str, subjects))} with "
                    f"{self.length} stored images in a row, found none in {len(own)} videos"
                )
            used = {video: np.unique(numbers) for video, numbers in windows.items() if numbers.size}
            arrays |= _indices(split, windows, used)
            blocks = partial(self._blocks, raw, sums, {video: own[video] for video in used}, used)
            streams[f"{split}_frames"] = Stream((sum(map(len, used.values())), *self.frame_shape), blocks)
        facts = {"source": self.source, "origin": ORIGINS[self.source], "videos": shown}
        return StreamedPrepared(arrays, facts, streams)

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> WindowSplit:
        """All three splits are fixed."""
        return WindowSplit(arrays[f"{name}_frames"], arrays[f"{name}_rows"], device)

    @property
    def length(self) -> int:
        """Stored images from the first of a sequence to its last."""
        return (self.context + self.horizon - 1) * self.subsampling + 1

    def windows(self, images: Images, stride: int) -> Int32[np.ndarray, "n t"]:
        """The frame numbers of each sequence of a video: one every ``stride`` images of a run without a gap."""
        numbers = np.array(list(images), np.int32)
        runs = np.split(numbers, 1 + np.flatnonzero(np.diff(numbers) != STEP))
        offsets = np.arange(self.context + self.horizon) * self.subsampling
        found = [run[np.arange(0, len(run) - self.length + 1, stride)[:, None] + offsets] for run in runs]
        return np.concatenate([np.empty((0, len(offsets)), np.int32), *(rows for rows in found if rows.size)])

    # --- whose images -----------------------------------------------------------------------------

    def _listed(self, raw: Path) -> tuple[dict[Video, Images], dict[str, str]]:
        index = raw / RAW_INDEX
        if not index.is_file():
            raise UserError(f"{index}: expected the list of your images, found none; {REMEDY}")
        sums = read_sums(index)
        videos = in_videos(sums, index)
        for name in sums:
            if not (index.parent / name).is_file():  # without it windows would shift, and nobody would know
                raise UserError(
                    f"{index}: expected only images that are there, found {name!r}, which is not; put it back, or run "
                    "`framecast fetch human36m`, which lists what is there"
                )
        return videos, sums

    def _drawn_names(self) -> tuple[dict[Video, Images], dict[str, str]]:
        subjects = sorted(subject for subjects in self.subjects.values() for subject in subjects)
        videos = [
            Video(subject, action + take, camera)
            for subject in subjects
            for action in sorted(figure_in_a_room.ACTIONS)
            for take in figure_in_a_room.TAKES
            for camera in sorted(figure_in_a_room.CAMERAS)
        ]
        numbers = range(1, 1 + STEP * self.images, STEP)
        return {video: {number: video.image(number) for number in numbers} for video in videos}, {}

    def _chosen(self, videos: dict[Video, Images]) -> dict[Video, Images]:
        for wanted, known, argument in (
            (self.actions, {video.action for video in videos}, "actions"),
            (self.cameras, {video.camera for video in videos}, "cameras"),
        ):
            if unknown := [one for one in wanted if one not in known]:
                there = ", ".join(map(str, sorted(known)))
                raise UserError(f"human36m: {argument}: found {unknown[0]}; allowed: {there}")
        return {
            video: images
            for video, images in videos.items()
            if (video.action in self.actions or (not self.actions and not video.action.startswith("_ALL")))
            and (video.camera in self.cameras or not self.cameras)
        }

    def _blocks(
        self, raw: Path, sums: dict[str, str], videos: dict[Video, Images], used: dict[Video, np.ndarray]
    ) -> Iterator[np.ndarray]:
        """The frames that are used, (1, 3, S, S) each."""
        for video, images in videos.items():
            with self._opened(raw, sums, video) as (folder, digests):
                for number in used[video].tolist():
                    name = images[number]
                    yield read_image(folder / name, digests[name], crop=self.crop, size=self.frame_size)[None]

    @contextmanager
    def _opened(self, raw: Path, sums: dict[str, str], video: Video) -> Iterator[tuple[Path, dict[str, str]]]:
        """The folder that a video's images are in, and their sha256; a stand-in is drawn, and gone afterwards."""
        if self.source == "official":
            yield (raw / RAW_INDEX).parent, sums
            return
        with TemporaryDirectory() as folder:
            write_stand_in(Path(folder), video, count=self.images, side=2 * self.frame_size, seed=self.data_seed)
            yield Path(folder), {path.name: sha256_of(path) for path in Path(folder).iterdir()}


def _indices(
    split: SplitName, windows: Mapping[Video, np.ndarray], used: Mapping[Video, np.ndarray]
) -> dict[str, np.ndarray]:
    """Which frames each sequence shows, the take that it is from, and its subject."""
    takes = {one: number for number, one in enumerate(sorted({(video.subject, video.take) for video in used}))}
    rows, start = [], 0
    for video, numbers in used.items():
        rows.append(start + np.searchsorted(numbers, windows[video]))
        start += len(numbers)
    counts = [len(one) for one in rows]
    return {
        f"{split}_rows": np.concatenate(rows).astype(np.int32),
        f"{split}_group": np.repeat([takes[video.subject, video.take] for video in used], counts),
        f"{split}_subject": np.repeat([video.subject for video in used], counts),
    }


def write_stand_in(folder: Path, video: Video, *, count: int, side: int, seed: int = 0) -> None:
    """Write the first ``count`` stored images of a video of the stand-in, side × side, as they are published."""
    for index, image in enumerate(figure_in_a_room.images(video, count, side, seed)):
        Image.fromarray(image).save(folder / video.image(1 + STEP * index), quality=JPEG_QUALITY)
