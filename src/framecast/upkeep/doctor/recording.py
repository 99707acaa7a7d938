"""DVC: where its remote lies, and what must not go there."""

import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from framecast import plain_yaml
from framecast.errors import UserError
from framecast.upkeep import dvc_config
from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False
PIPELINE = Path("dvc.yaml")
#: Frames as they were prepared, of the first validation sequences, of the first test sequences, and in pictures.
SHOWING = ("data/processed", "data/runs", "data/scores", "reports/figures", "reports/report.html")


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


def licences(surroundings: Surroundings) -> Iterator[Line]:
    """Whether `dvc push` would pass on frames of a dataset that may not be passed on."""
    from framecast.data.fetching.fetch import SOURCES
    from framecast.study import catalogue

    name = dvc_config.read().get("core", {}).get("remote", "") if Path(".dvc").is_dir() else ""
    pushed = _pushed() if name else []
    try:
        grid = surroundings.grid
    except UserError:  # which is told elsewhere
        return
    for dataset in grid.datasets if pushed else ():
        entry = grid.params.datasets[dataset]
        if any(SOURCES[source].private for source in catalogue.raw_sources(entry.kind, entry.arguments)):
            found = f"its frames may not be passed on, and `dvc push` sends {', '.join(pushed)} to {name}"
            cure = "if others can read that, write `push: false` beside each in dvc.yaml, or run Snakemake alone"
            yield Line("warning", f"dataset {dataset}", found, cure)


def _pushed() -> list[str]:
    """Which of the outputs that show frames DVC sends to a remote, by dvc.yaml."""
    stages = plain_yaml.read(PIPELINE).get("stages", {}) if PIPELINE.is_file() else {}
    listed = [out for stage in stages.values() for out in stage.get("outs", ())]
    options = {path: said for out in listed for path, said in (out if isinstance(out, dict) else {out: None}).items()}
    return [
        path for path in SHOWING if path in options and False not in map((options[path] or {}).get, ("cache", "push"))
    ]


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
