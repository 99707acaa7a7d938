"""BAIR robot pushing: an arm that pushes things about in a bin (Ebert, Finn, Lee and Levine, CoRL 2017).

30 frames of 64×64 RGB for each of 43 264 trajectories to train on and 256 to test on. The studies cut them so:

============  ================================================  ==============================
``protocol``  a sequence is                                     tested on
============  ================================================  ==============================
``coleman``   the first context + horizon frames (10 + 10)      the first 200 test trajectories
``svg``       the first context + horizon frames (2 + 28)       all 256
``windows``   every context + horizon frames that follow on     all 256
              each other (PredRNN-V2 2 + 28, OpenSTL 4 + 12)
============  ================================================  ==============================

The published studies choose on the test set or do not say; here the last trajectories of the training files validate.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from framecast.data.base import SPLITS, Dataset, Split, SplitName, StoredSplit
from framecast.data.formats import softmotion
from framecast.data.formats.sha256sums import verify
from framecast.data.formats.softmotion import FOLDER, FRAMES_EACH, TRAJECTORIES, Opener, Part, TrajectoryFile
from framecast.data.generated import pushing_arm
from framecast.data.shared.streams import Stream, StreamedPrepared
from framecast.data.shared.windows import WindowSplit
from framecast.errors import UserError
from framecast.ranges import NonNegativeInt, Pixels, PositiveInt

FRAMES = "video"
SIDE = "frame_size"
RAW_SOURCES = (({"source": "official"}, ("bair",)),)
FITS = (
    "context + horizon <= 30",
    "frame_size == 64 if source == 'official'",
    "test <= 256 if source == 'official'",
    "train + validation <= 43264 if source == 'official'",
    "validation < 43264 if train is None",
    "train + validation <= train_files * 256 if source == 'official'",
    "train + validation <= train_files * 32 if source == 'stand-in'",
    "validation < train_files * 256 if source == 'official'",
    "validation < train_files * 32 if source == 'stand-in'",
)

ORIGINS = {
    "official": "BAIR robot pushing (Ebert, Finn, Lee, Levine), camera {}",
    "stand-in": "an arm that pushes blocks, drawn by framecast in the format of BAIR robot pushing, camera {}",
}
REMEDY = "run `framecast fetch bair` (30 GiB), or put the unpacked folder softmotion30_44k in data/raw/bair"
COLEMAN_TEST = 200
DRAWN_PER_FILE = 32  #: trajectories of the stand-in

Range = tuple[int, int]  # first trajectory, the one after the last


class Bair(Dataset):
    """Frames (3, frame_size, frame_size), RGB, values in [0, 1], of ``camera``: ``image_aux1`` as in every study.

    ``train``, ``validation`` and ``test`` are numbers of trajectories. The last ``validation`` trajectories of the
    training files validate, the first ``train`` of the others train (None: all of them), and the first ``test`` of the
    test files test (None: as the protocol says). No trajectory is in two splits. ``train_files`` reads only the first
    m training files, of 256 trajectories each, which is how a part of the 30 GiB is prepared.

    ``source="official"`` reads ``data/raw/bair``: the unpacked folder ``softmotion30_44k`` where there is one, else the
    published tar, where it lies. Their trajectories must be as many as were published, unless ``complete`` is false.
    ``source="stand-in"`` draws an arm that pushes blocks, writes it in the same format and reads it back; only it may
    have another ``frame_size`` than 64.

    Stored for each split: ``<split>_frames`` (trajectories, frames, 3, S, S) uint8, and ``<split>_group``, which says
    from which trajectory of the training or of the test files each sequence is.
    """

    def __init__(
        self,
        *,
        context: PositiveInt = 10,
        horizon: PositiveInt = 10,
        source: Literal["official", "stand-in"] = "official",
        protocol: Literal["coleman", "svg", "windows"] = "coleman",
        camera: Literal["image_aux1", "image_main"] = "image_aux1",
        frame_size: Pixels = 64,
        train_files: PositiveInt | None = None,
        train: PositiveInt | None = None,
        validation: PositiveInt = 256,
        test: PositiveInt | None = None,
        complete: bool = True,
        data_seed: NonNegativeInt = 0,
    ) -> None:
        self.context, self.horizon = context, horizon
        self.frame_shape = (3, frame_size, frame_size)
        self.source, self.protocol, self.camera, self.frame_size = source, protocol, camera, frame_size
        self.train_files, self.complete, self.data_seed = train_files, complete, data_seed
        self.train, self.validation = train, validation
        self.test = test or (COLEMAN_TEST if protocol == "coleman" else None)

    @property
    def stored(self) -> int:
        """How many frames of a trajectory are kept."""
        return FRAMES_EACH if self.protocol == "windows" else self.context + self.horizon

    @property
    def windows(self) -> int:
        """Sequences of one trajectory."""
        return self.stored - self.context - self.horizon + 1

    def prepare(self, raw: Path) -> StreamedPrepared:
        """Frames and groups of the three splits; of the frames, one trajectory at a time is in memory.

        Raises UserError: no files, too few or too many trajectories, and, while the frames are read, a damaged one.
        """
        files = self._stand_in() if self.source == "stand-in" else self._official(raw)
        ranges = self.ranges(files)
        streams, arrays = {}, {}
        for split, (first, after) in ranges.items():
            part: Part = "test" if split == "test" else "train"
            shape = (after - first, self.stored, *self.frame_shape)
            streams[f"{split}_frames"] = Stream(shape, partial(self._blocks, files[part], first, after))
            arrays[f"{split}_group"] = np.repeat(np.arange(first, after), self.windows)
        facts = {
            "source": self.source,
            "origin": ORIGINS[self.source].format(self.camera),
            "protocol": self.protocol,
            "train_files": len(files["train"]),
            "trajectories": {split: [first, after - 1] for split, (first, after) in ranges.items()},
        }
        return StreamedPrepared(arrays, facts, streams)

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> Split:
        """All three splits are fixed. Sequence i of ``windows`` begins at frame i mod W of trajectory ⌊i / W⌋."""
        frames = arrays[f"{name}_frames"]
        if self.windows == 1:
            return StoredSplit(frames, device)
        first = torch.arange(len(frames))[:, None] * self.stored + torch.arange(self.windows)
        rows = first.flatten()[:, None] + torch.arange(self.context + self.horizon)
        return WindowSplit(frames.flatten(0, 1), rows.int(), device)

    def ranges(self, files: Mapping[Part, list[TrajectoryFile]]) -> dict[SplitName, Range]:
        """Which trajectories of the training and of the test files make up each split."""
        read = {part: listed[-1].last + 1 for part, listed in files.items()}
        after = read["train"] - self.validation
        if after < (self.train or 1):
            raise UserError(
                f"bair: expected {self.train or 1} trajectories to train on (train) and {self.validation} to validate "
                f"(validation), found {read['train']}; change one of them or train_files"
            )
        if read["test"] < (self.test or 1):
            raise UserError(f"bair: expected {self.test} trajectories to test on (test), found {read['test']}")
        ranges = (0, self.train or after), (after, read["train"]), (0, self.test or read["test"])
        return dict(zip(SPLITS, ranges, strict=True))

    def _blocks(self, files: list[TrajectoryFile], first: int, after: int) -> Iterator[np.ndarray]:
        """Trajectories first … after−1, (1, T, 3, S, S) each."""
        for file in files:
            if file.last < first or file.first >= after:
                continue
            for number, frames in softmotion.read_frames(file, self.camera, self.frame_size):
                if first <= number < after:
                    yield frames[None, : self.stored].transpose(0, 1, 4, 2, 3)

    # --- whose files ------------------------------------------------------------------------------

    def _official(self, raw: Path) -> dict[Part, list[TrajectoryFile]]:
        folder, tar = raw / "bair" / FOLDER, raw / "bair" / softmotion.TAR
        if folder.is_dir():
            files = {part: softmotion.in_folder(folder, part) for part in TRAJECTORIES}
        else:
            verify(tar, softmotion.TAR_SHA256, remedy=REMEDY)
            files = {part: softmotion.in_tar(tar, part) for part in TRAJECTORIES}
        return softmotion.chosen(files, self.train_files, complete=self.complete, remedy=REMEDY)

    def _stand_in(self) -> dict[Part, list[TrajectoryFile]]:
        """Files that are drawn when they are opened, and gone when they are closed."""
        all_to_train = self.validation + (self.train or TRAJECTORIES["train"] - self.validation)
        counts: dict[Part, int] = {"train": all_to_train, "test": self.test or TRAJECTORIES["test"]}
        files: dict[Part, list[TrajectoryFile]] = {}
        for part, count in counts.items():
            firsts = list(range(0, count, DRAWN_PER_FILE))[: self.train_files if part == "train" else None]
            named = [(first, min(first + DRAWN_PER_FILE, count) - 1) for first in firsts]
            files[part] = [
                TrajectoryFile(
                    *ends, f"stand-in {part}/traj_{ends[0]}_to_{ends[1]}.tfrecords", self._drawn(part, *ends)
                )
                for ends in named
            ]
        return files

    def _drawn(self, part: Part, first: int, last: int) -> Opener:
        @contextmanager
        def opened() -> Iterator[BufferedIOBase]:
            with TemporaryDirectory() as folder:
                path = write_stand_in(Path(folder), part, first, last, size=self.frame_size, seed=self.data_seed)
                with path.open("rb") as file:
                    yield file

        return opened


def write_stand_in(folder: Path, part: Part, first: int, last: int, *, size: int, seed: int = 0) -> Path:
    """Write trajectories ``first`` … ``last`` of the stand-in under ``folder/part``, in the published format."""
    stream = list(TRAJECTORIES).index(part)
    drawn = (pushing_arm.trajectory(seed, stream, number, size) for number in range(first, last + 1))
    return softmotion.write_trajectories(folder, part, first, last, drawn)
