"""Checkpoints: two generations, each proving its own wholeness, in a folder that neither engine knows of.

A generation is one safetensors file ``step-<step>-<digest>.safetensors`` whose name holds the start of its own sha256.
It is written under a temporary name, synced and renamed, so a kill, a crash or a full disk leaves at worst a
temporary file; and the generation before it stays until the new one stands.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from framecast.artifacts import replacing, sha256
from framecast.errors import UserError

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
    """The checkpoints of one cell; ``key`` is the cell's and refuses any other's."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

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

        A damaged generation is passed over with one warning line. Raises UserError when every generation is damaged
        or one belongs to another key: starting over in silence would lose work that somebody may want to look at.
        """
        damaged = []
        for path in self._generations():
            content = path.read_bytes()
            expected, found = path.stem.rsplit("-", 1)[1], sha256(content)[:DIGEST]
            if found == expected:
                return self._opened(path, content)
            damaged.append(f"{path} is damaged (sha256 {found}…, expected {expected}…)")
            print(f"framecast: warning: checkpoint {damaged[-1]}; trying the one before", file=sys.stderr)
        if damaged:
            raise UserError(f"no good checkpoint is left: {'; '.join(damaged)}; delete {self.folder} to train anew")
        return None

    def clear(self) -> None:
        """Remove the folder: the finished bundle has taken its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*-*.safetensors"), reverse=True)

    def _opened(self, path: Path, content: bytes) -> Checkpoint:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["framecast"])
        if header["key"] != self.key:
            raise UserError(f"checkpoint {path} belongs to key {header['key']}, this cell has {self.key}; move it away")
        return Checkpoint(header["step"], load(content), header["notes"])
