"""Checkpoints: two generations, each proving its own wholeness, in a folder that neither engine knows of.

A generation is one safetensors file ``step-<step>-<digest>.safetensors`` whose name holds the start of its own sha256.
It is written under a temporary name, synced and renamed, so a kill, a crash or a full disk leaves at worst a
temporary file; and the generation before it stays until the new one stands.

The digest tells damage, not intent: whoever may write into the folder decides what the training goes on from. So the
folder has to belong to this user and may be written by nobody outside its group. The folders above it, up to
``data/checkpoints``, may also belong to root or to the owner of the working folder, who could as well change the code,
and others may write into one only under the sticky bit, which keeps what is not theirs. Where a group shares the
working folder (it may write there, and we are of it), everything of that group may belong to anybody, for its members
could change the code, too; but not below a folder in which others may make files, who would give them any group.
"""

import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from framecast.artifacts import replacing, sha256
from framecast.errors import UserError
from framecast.study.grid import CHECKPOINTS

AFFECTS_NUMBERS = False
GENERATIONS = 2
DIGEST = 16  #: hex digits of the sha256 that the file name holds


@dataclass(frozen=True)
class Checkpoint:
    """A training run at a step boundary: tensors, and notes that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one cell; ``key`` is the cell's and refuses any other's.

    Makes the folder. Raises UserError when others can write into it or it is somebody else's.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        # A run that ends by itself takes its lease away, so one that is left, like half a file, tells of a kill.
        self._killed = (folder / "lease.json").exists() or any(folder.glob(".step-*.partial"))
        _make_or_refuse(folder)

    def save(self, step: int, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Write a generation, then drop what is older than the one before it."""
        # One metadata entry: safetensors keeps entries in no fixed order.
        header = {"framecast": json.dumps({"key": self.key, "step": step, "notes": notes})}
        content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)
        path = self.folder / f"step-{step:09d}-{sha256(content)[:DIGEST]}.safetensors"
        with replacing(path) as partial:
            partial.write_bytes(content)
        for old in self._generations()[GENERATIONS:]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest whole generation, or None when there is none at all.

        One warning line tells when the last run was killed or a damaged generation is passed over, which is then set
        aside. Raises UserError when every generation is damaged or a link, or one belongs to another key: starting
        over in silence would lose work that somebody may want to look at.
        """
        damaged: dict[Path, str] = {}
        for path in self._generations():
            content = _read(path)
            expected, found = path.stem.rsplit("-", 1)[1], sha256(content)[:DIGEST]
            if found == expected:
                checkpoint = self._opened(path, content)
                self._tell(checkpoint, list(damaged.values()))
                for old in damaged:
                    old.rename(old.with_name(f"damaged-{old.name}"))
                return checkpoint
            damaged[path] = f"{path} is damaged (sha256 {found}…, expected {expected}…)"
        if damaged:
            told = "; ".join(damaged.values())
            raise UserError(f"no good checkpoint is left: {told}; delete {self.folder} to train anew")
        return None

    def clear(self) -> None:
        """Remove the folder: the finished bundle has taken its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*-*.safetensors"), reverse=True)

    def _tell(self, checkpoint: Checkpoint, damaged: list[str]) -> None:
        """What happened since this checkpoint was written, in one line; silence after a run that ended by itself."""
        happened = [f"the last run into {self.folder} was killed"] if self._killed else []
        if happened or damaged:
            reasons = "; ".join([*damaged, *happened])
            print(f"framecast: warning: checkpoint: {reasons}; going on from step {checkpoint.step}", file=sys.stderr)
        self._killed = False
        for partial in self.folder.glob(".step-*.partial"):
            partial.unlink()

    def _opened(self, path: Path, content: bytes) -> Checkpoint:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["framecast"])
        if header["key"] != self.key:
            raise UserError(f"checkpoint {path} belongs to key {header['key']}, this cell has {self.key}; move it away")
        return Checkpoint(header["step"], load(content), header["notes"])


def _make_or_refuse(folder: Path) -> None:
    """Make a checkpoint folder that others cannot write into, whatever the umask, or raise UserError for one here."""
    places = [folder]
    while CHECKPOINTS in places[-1].parents:
        places.append(places[-1].parent)
    is_ours_alone = True
    for place in reversed(places):
        place.mkdir(mode=0o775, parents=True, exist_ok=True)
        owners = {os.geteuid()} if place == folder else {os.geteuid(), 0, Path().stat().st_uid}
        _refuse_what_others_change(place, owners, sticky_will_do=place != folder, group_will_do=is_ours_alone)
        is_ours_alone = is_ours_alone and not place.stat().st_mode & stat.S_IWOTH


def _refuse_what_others_change(place: Path, owners: set[int], *, sticky_will_do: bool, group_will_do: bool) -> None:
    found = place.stat()
    remedy = f"make {CHECKPOINTS} a link to a folder that only you can write into"
    if found.st_uid not in owners and not (group_will_do and _is_of_our_group(found)):
        raise UserError(
            f"checkpoint folder {place}: found one that belongs to user {found.st_uid}, allowed: your own (user "
            f"{os.geteuid()}), or one of the group that shares this folder (docs/cluster.md); move it away or {remedy}"
        )
    if found.st_mode & stat.S_IWOTH and not (sticky_will_do and found.st_mode & stat.S_ISVTX):
        raise UserError(
            f"checkpoint folder {place}: found mode {stat.S_IMODE(found.st_mode):o}, which lets everybody write into "
            f"it, allowed: you and your group; run `chmod o-w {place}` if you trust what it holds, or {remedy}"
        )


def _is_of_our_group(found: os.stat_result) -> bool:
    """Whether this belongs to the group that shares the working folder, and this process as well."""
    here = Path().stat()
    is_shared = here.st_mode & stat.S_IWGRP and here.st_gid in {os.getegid(), *os.getgroups()}
    return bool(is_shared) and found.st_gid == here.st_gid


def _read(path: Path) -> bytes:
    """The content of a checkpoint that is a file of this user's or group's; what a link leads to may be anybody's."""
    found = path.lstat()
    is_trusted = found.st_uid == os.geteuid() or (_is_of_our_group(found) and not found.st_mode & stat.S_IWOTH)
    if not stat.S_ISREG(found.st_mode) or not is_trusted:
        raise UserError(
            f"checkpoint {path}: found a link or somebody else's file, allowed: a file of your own; delete it"
        )
    return path.read_bytes()
