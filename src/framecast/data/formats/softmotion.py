"""``softmotion30_44k``: the files of BAIR robot pushing (Ebert, Finn, Lee and Levine, CoRL 2017).

``softmotion30_44k/train/traj_A_to_B.tfrecords`` holds the trajectories A … B, both included, one ``tf.train.Example``
each (``tfrecord.py``); ``test`` likewise, numbered anew. Of frame t = 0 … 29 there are

=========================  ==========================================================
``t/image_main/encoded``    raw RGB bytes, (row, column, colour) = (64, 64, 3): no JPEG
``t/image_aux1/encoded``    the same of the camera that every published study forecasts
``t/action``                4 float32
``t/endeffector_pos``       3 float32
=========================  ==========================================================

The files are read from their folder or where they lie in the published tar, which is never unpacked.
"""

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import UInt8

from framecast.data.formats.tfrecord import read_example, read_records, write_example, write_records
from framecast.errors import UserError

FOLDER = "softmotion30_44k"
TAR, TAR_BYTES = "bair_robot_pushing_dataset_v0.tar", 32_274_964_480
TAR_SHA256 = "c6f8d164ab2be07174ef597e3e070d7466f3142caddc467b6af119b9458cd9cd"
PER_FILE = 256
FRAMES_EACH = 30

Part = Literal["train", "test"]
Opener = Callable[[], AbstractContextManager[BufferedIOBase]]
Camera = Literal["image_aux1", "image_main"]
TRAJECTORIES: dict[Part, int] = {"train": 43_264, "test": 256}  #: in the published files
NAME = re.compile(r"traj_(\d{1,9})_to_(\d{1,9})\.tfrecords")


@dataclass(frozen=True)
class TrajectoryFile:
    """Trajectories ``first`` … ``last``; ``name`` is what errors call the file, ``open`` opens it for reading."""

    first: int
    last: int
    name: str
    open: Opener

    def __len__(self) -> int:
        return self.last - self.first + 1


# --- which files there are ------------------------------------------------------------------------


def in_folder(folder: Path, part: Part) -> list[TrajectoryFile]:
    """The files of ``folder/part`` in the order of their trajectories.

    Raises UserError when there are none, a name does not fit, or they do not follow on each other from trajectory 0.
    """
    paths = sorted((folder / part).glob("*.tfrecords"))
    return _in_order(folder / part, [(path.name, str(path), partial(_opened, path)) for path in paths])


def in_tar(path: Path, part: Part) -> list[TrajectoryFile]:
    """The files of a part of the published tar, in the order of their trajectories; errors as in a folder."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isfile() and member.name.endswith(".tfrecords")]
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: expected a tar archive, found {error}; get the file again") from None
    held = [one for one in members if Path(one.name).parts[-3:-1] == (FOLDER, part)]
    opened = [(Path(one.name).name, f"{path}: {one.name}", partial(_opened_member, path, one)) for one in held]
    return _in_order(path / FOLDER / part, opened)


def chosen(
    files: Mapping[Part, list[TrajectoryFile]], train_files: int | None, *, complete: bool, remedy: str
) -> dict[Part, list[TrajectoryFile]]:
    """The first ``train_files`` training files (None: all) and the test files.

    Raises UserError when they have not as many trajectories as were published, unless ``complete`` is false, or when
    there are fewer training files.
    """
    wanted: dict[Part, int | None] = {"train": train_files, "test": None}
    found = {part: files[part][: wanted[part]] for part in TRAJECTORIES}
    for part, published in TRAJECTORIES.items():
        expected = min(PER_FILE * (wanted[part] or published), published)
        count = sum(map(len, found[part]))
        if complete and count != expected:
            raise UserError(
                f"{Path(found[part][0].name).parent}: expected {expected} trajectories, found {count} in "
                f"{len(found[part])} files; {remedy}, or set train_files, or complete: false for a part of them"
            )
        if len(found[part]) < (wanted[part] or 1):
            raise UserError(f"bair: expected {wanted[part]} training files (train_files), found {len(found[part])}")
    return found


def _opened(path: Path) -> BufferedIOBase:
    return path.open("rb")


@contextmanager
def _opened_member(path: Path, member: tarfile.TarInfo) -> Iterator[BufferedIOBase]:
    with tarfile.open(path, "r:") as tar, cast(BufferedReader, tar.extractfile(member)) as file:
        yield file


def _in_order(place: Path, found: Iterable[tuple[str, str, Opener]]) -> list[TrajectoryFile]:
    files = []
    for name, called, opened in found:
        match = NAME.fullmatch(name)
        if match is None or int(match[2]) < int(match[1]):
            raise UserError(f"{called}: expected a name like traj_0_to_255.tfrecords, found {name}")
        files.append(TrajectoryFile(int(match[1]), int(match[2]), called, opened))
    if not files:
        raise UserError(f"{place}: expected files like traj_0_to_255.tfrecords, found none")
    files.sort(key=lambda file: file.first)
    for file, expected in zip(files, [0, *(file.last + 1 for file in files)], strict=False):
        if file.first != expected:
            raise UserError(f"{file.name}: expected a file that begins with trajectory {expected}, found {file.first}")
    return files


# --- what they hold -----------------------------------------------------------------------------------


def read_frames(file: TrajectoryFile, camera: Camera, size: int) -> Iterator[tuple[int, UInt8[np.ndarray, "t h w c"]]]:
    """Each trajectory of a file: its number, and its 30 frames of a camera, (30, size, size, 3) RGB.

    Raises UserError with file, record, expected and found when the file is damaged or cut off, a key is missing, or an
    image has another size.
    """
    with file.open() as opened:
        for offset, data in enumerate(read_records(opened, file.name, len(file))):
            where = f"{file.name}, record {offset + 1}"
            try:
                example = read_example(data)
            except ValueError as error:
                raise UserError(f"{where}: expected a tf.train.Example, found {error}; get the file again") from None
            images = [_image(example, f"{step}/{camera}/encoded", size, where) for step in range(FRAMES_EACH)]
            yield file.first + offset, np.frombuffer(b"".join(images), np.uint8).reshape(-1, size, size, 3)


def _image(example: dict, key: str, size: int, where: str) -> bytes:
    if key not in example:
        raise UserError(f"{where}: expected the key {key}, found {len(example)} others")
    values = example[key]
    if not isinstance(values, list) or len(values) != 1:
        raise UserError(f"{where}: expected one value of bytes under {key}, found {len(values)} values")
    if len(values[0]) != size * size * 3:
        raise UserError(
            f"{where}: expected {size * size * 3} bytes ({size}×{size}×3) under {key}, found {len(values[0])}"
        )
    return values[0]


@dataclass(frozen=True)
class Trajectory:
    """All of one record: frames of both cameras, (30, size, size, 3) RGB; actions (30, 4) and positions (30, 3)."""

    aux1: UInt8[np.ndarray, "t h w c"]
    main: UInt8[np.ndarray, "t h w c"]
    actions: np.ndarray
    positions: np.ndarray

    def example(self) -> bytes:
        """The record's data."""
        features: dict[str, bytes | np.ndarray] = {}
        for step in range(FRAMES_EACH):
            features[f"{step}/image_aux1/encoded"] = self.aux1[step].tobytes()
            features[f"{step}/image_main/encoded"] = self.main[step].tobytes()
            features[f"{step}/action"] = self.actions[step]
            features[f"{step}/endeffector_pos"] = self.positions[step]
        return write_example(features)


def write_trajectories(folder: Path, part: Part, first: int, last: int, trajectories: Iterable[Trajectory]) -> Path:
    """Write trajectories ``first`` … ``last`` of a part into the file that is named as published."""
    path = folder / part / f"traj_{first}_to_{last}.tfrecords"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, (trajectory.example() for trajectory in trajectories))
    return path
