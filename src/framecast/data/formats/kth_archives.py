"""The KTH recordings as they lie in ``data/raw/kth``: six archives as published, or files of one's own.

The archives (``walking.zip`` …) hold AVI files named like ``person01_walking_d1_uncomp.avi``, and are checked by the
sha1 that is known of them. Where ``SHA256SUMS`` lies beside them, the files that it lists are read instead: unpacked, a
part of the set, or the stand-in.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from framecast.data.formats.kth_sequences import ARCHIVES_SHA1, NAME, Clip, Segment, read_segments
from framecast.data.formats.kth_sequences import SHA256 as LIST_SHA256
from framecast.data.formats.sha1 import verify_sha1
from framecast.data.formats.sha256sums import read_sums, verify
from framecast.data.formats.video import frame_count, grey_frames
from framecast.errors import UserError

SHAPE = (120, 160)  #: of the published frames
LARGEST_CLIP = 64 << 20  #: bytes; the published ones have 1 to 5 million
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)  # the last: encrypted
SUFFIX = "_uncomp.avi"
REMEDY = "run `framecast fetch kth`, or set FRAMECAST_MIRROR to a folder that holds the published files"
OWN = "for unpacked files, in their folder: sha256sum 00sequences.txt $(find . -name '*.avi') > SHA256SUMS"

Place = tuple[str, Callable[[], Path | bytes]]  # a name for messages; a file, or its content


@dataclass(frozen=True)
class Recordings:
    """The clips of a folder: where each one is read, and which of its frames show somebody."""

    segments: Mapping[Clip, tuple[Segment, ...]]
    places: Mapping[Clip, Place]  #: a name for messages, and its file or content
    published: bool  #: whether the archives have the published hashes
    concealed: dict[str, list[int]] = field(default_factory=dict)  #: frames that the decoder had to guess, by clip

    def length(self, clip: Clip) -> int:
        """Frames of a clip, as its header counts them."""
        name, read = self.places[clip]
        return frame_count(read(), name)

    def frames(self, clip: Clip) -> Iterator[UInt8[np.ndarray, "120 160"]]:
        """The frames of a clip. Raises UserError when it does not decode to its end."""
        name, read = self.places[clip]
        concealed: list[int] | None = [] if self.published else None
        try:
            yield from grey_frames(read(), name, shape=SHAPE, concealed=concealed)
        except UserError as error:
            raise UserError(f"{error}; mend the file, or leave the clip out (leave_out: [{clip}])") from None
        if concealed:
            self.concealed[str(clip)] = concealed


@contextmanager
def opened(folder: Path) -> Iterator[Recordings]:
    """The recordings of ``data/raw/kth``: what ``SHA256SUMS`` lists there, or else the six published archives.

    Raises UserError when a file is missing, altered, cut off or no clip by its name, and when two are the same clip.
    """
    listed = folder / NAME
    index = folder / "SHA256SUMS"
    with ExitStack() as stack:
        if index.is_file():
            sums = read_sums(index)
            if listed.name not in sums:
                raise UserError(f"{index}: expected a line for {listed.name}, found none; {OWN}")
            for name, digest in sums.items():
                verify(folder / name, digest, remedy=OWN)
            places = _places((name, partial(Path, folder / name)) for name in sums)
        else:
            verify(listed, LIST_SHA256, remedy=f"{REMEDY}; {OWN}")
            archives = [stack.enter_context(_archive(folder / f"{action}.zip", action)) for action in ARCHIVES_SHA1]
            places = _places(member for archive in archives for member in _members(archive))
        yield Recordings(read_segments(listed), places, published=not index.is_file())


def _places(files: Iterable[Place]) -> dict[Clip, Place]:
    """Every AVI file by its clip."""
    places: dict[Clip, Place] = {}
    for name, read in files:
        last = PurePosixPath(name).name
        if not last.lower().endswith(".avi"):
            continue
        clip = Clip.named(last.removesuffix(SUFFIX)) if last.endswith(SUFFIX) else None
        if clip is None:
            raise UserError(f"kth: {name}: expected a name like person01_walking_d1{SUFFIX}, found another")
        if clip in places:
            raise UserError(f"kth: {name}: expected each clip once, found {places[clip][0]} too")
        places[clip] = name, read
    return places


def _archive(path: Path, action: str) -> zipfile.ZipFile:
    """A published archive, checked by its sha1."""
    verify_sha1(path, ARCHIVES_SHA1[action], remedy=f"{REMEDY}; {OWN}")
    try:
        return zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise UserError(f"{path}: expected a whole zip archive, found: {error}; {REMEDY}") from None


def _members(archive: zipfile.ZipFile) -> Iterator[Place]:
    for member in archive.infolist():
        if not member.is_dir():
            yield f"{archive.filename}/{member.filename}", partial(_content, archive, member)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    where = f"{archive.filename}/{member.filename}"
    if member.file_size > LARGEST_CLIP:
        raise UserError(f"{where}: expected at most {LARGEST_CLIP} bytes, found {member.file_size}")
    try:
        return archive.read(member)
    except ZIP_ERRORS as error:
        raise UserError(f"{where}: expected a whole member of a zip archive, found: {error}; {REMEDY}") from None
