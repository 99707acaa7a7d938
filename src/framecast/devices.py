"""Which device a job computes on. On a machine with several GPUs every job takes one that no other job holds."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.artifacts.locks import Lock
from framecast.errors import UserError

if TYPE_CHECKING:
    import torch

AFFECTS_NUMBERS = False
_held: list[Lock] = []  #: as long as the process lives


def choose(name: str) -> "torch.device":
    """The device of a name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``cuda`` is the least taken of the visible GPUs, ``auto`` that or the CPU. Raises UserError for another name, and
    for a GPU that is not there: a job that asked for one never falls back to the CPU in silence.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device: found {name!r}; allowed: auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device: found {name!r}; allowed: auto, cpu, cuda, cuda:N")
    if device.type == "cpu":
        return device
    if (device.index or 0) >= count:
        raise UserError(f"--device: found {name!r}, and this machine has {count} CUDA devices")
    return device if device.index is not None else torch.device("cuda", claim(visible(count)))


def visible(count: int) -> list[str]:
    """The GPUs that this process may use, by the names that the machine gives them."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[:count] or [str(number) for number in range(count)]


def claim(names: list[str]) -> int:
    """The position of a GPU that fewest jobs on this machine hold, whosever they are; held until this process ends.

    Each GPU has a row of locks, one place per job: whoever gets the first place of a GPU has it alone.
    """
    folder = _places()
    for place in range(1000):
        for position, name in enumerate(names):
            lock = Lock(folder / f"{name}.{place}")
            with suppress(PermissionError):  # of somebody who lets nobody look: taken, as far as we can know
                if lock.take():
                    _held.append(lock)
                    return position
    raise UserError(f"--device: each of the GPUs {', '.join(names)} is held by 1000 jobs; end some")


def _places() -> Path:
    """A folder of this machine in which everybody may make files, and nobody remove another's, as in /tmp itself."""
    folder = Path(tempfile.gettempdir()) / "framecast-gpus"
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise UserError(
            f"{folder}: found one in which this user cannot make files, allowed: mode 1777; ask its owner for that, or "
            "set TMPDIR to another folder"
        )
    return folder
