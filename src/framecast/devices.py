"""Which device a job computes on. On a machine with several GPUs every job takes one that no other job holds."""

import fcntl
import getpass
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from framecast.errors import UserError

if TYPE_CHECKING:
    import torch

AFFECTS_NUMBERS = False
_held: list[IO[str]] = []  #: locks live as long as the process; the kernel takes them back from a killed one


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
    if device.type != "cuda":
        return device
    if (device.index or 0) >= count:
        raise UserError(f"--device: found {name!r}, and this machine has {count} CUDA devices")
    return device if device.index is not None else torch.device("cuda", claim(visible(count)))


def visible(count: int) -> list[str]:
    """The GPUs that this process may use, by the names that the machine gives them."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[:count] or [str(number) for number in range(count)]


def claim(names: list[str]) -> int:
    """The position of a GPU that fewest jobs of this user hold; this process holds it until it ends.

    Each GPU has a row of lock files, one place per job: whoever gets the first place of a GPU has it alone.
    """
    folder = Path(tempfile.gettempdir()) / f"framecast-{getpass.getuser()}-gpus"
    folder.mkdir(mode=0o700, exist_ok=True)
    for place in range(1000):
        for position, name in enumerate(names):
            file = (folder / f"{name}.{place}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _held.append(file)
            return position
    raise UserError(f"--device: each of the GPUs {', '.join(names)} is held by 1000 jobs; end some")
