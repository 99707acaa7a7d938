"""DVC: where its remote lies."""

import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from framecast.upkeep import dvc_config
from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False


def dvc_remote(_: Surroundings) -> Iterator[Line]:
    """Whether the default remote has an address, and a folder that is one can be written."""
    if not Path(".dvc").is_dir():
        yield Line("warning", "DVC", "no .dvc folder here, so nothing is recorded", "go to the root of the repository")
        return
    config = dvc_config.read()
    name = config.get("core", {}).get("remote", "")
    if not name:
        cure = "`dvc remote add --default NAME ADDRESS` makes one; without it results are kept on this disk alone"
        yield Line("warning", "DVC remote", "none is set", cure)
        return
    written = config.get("remote", {}).get(name, {}).get("url", "")
    if not written:
        found = f"{name} is the default and has no address"
        yield Line("problem", "DVC remote", found, f"`dvc remote add {name} ADDRESS`")
        return
    address = urllib.parse.urlsplit(written)
    if address.scheme and address.scheme != "file":
        place = f"{address.scheme}://{address.hostname or ''}{address.path}"  # without a user's name or password
        yield Line("ok", "DVC remote", f"{name} at {place}, not contacted")
        return
    yield _folder_remote(name, Path(address.path if address.scheme else written))


def _folder_remote(name: str, folder: Path) -> Line:
    """A remote that is a folder, which ``dvc push`` makes where it is not there yet."""
    folder = dvc_config.as_seen_from_here(folder)
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Line("ok", "DVC remote", f"{name} in {folder}")
    if folder.exists():
        return Line("problem", "DVC remote", f"{name} in {folder}, which cannot be written", "mend its permissions")
    if folder.parent.is_dir() and os.access(folder.parent, os.W_OK):
        return Line("ok", "DVC remote", f"{name} in {folder}, which the first `dvc push` makes")
    return Line("problem", "DVC remote", f"{name} in {folder}, which is not there", "mount it, or change the address")
