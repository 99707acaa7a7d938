"""The study: ``params.yaml``, and the raw files that it reads."""

import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from framecast.errors import UserError
from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False


def study(surroundings: Surroundings) -> Iterator[Line]:
    """Whether ``params.yaml`` is valid."""
    grid = surroundings.grid
    yield Line("ok", "params.yaml", f"valid: {grid.count} cells at scale {grid.params.scale}")


def raw_data(surroundings: Surroundings) -> Iterator[Line]:
    """Whether the published files are here that the data sets read."""
    from framecast.study import catalogue

    try:
        grid = surroundings.grid
    except UserError:
        yield Line("warning", "raw data", "not looked at, since params.yaml is not valid", "mend that first")
        return
    for dataset in grid.datasets:
        entry = grid.params.datasets[dataset]
        wanted = catalogue.raw_sources(entry.kind, entry.arguments)
        if not wanted:
            yield Line("ok", f"dataset {dataset}", "needs no raw files")
        for source in wanted:
            yield from _raw_files(dataset, source, _index(entry.kind, source))


def _index(kind: str, source: str) -> str | None:
    """The list of the user's own files that a dataset reads; None where it would do with the published ones."""
    from framecast.data.fetching import fetch
    from framecast.study import catalogue
    from framecast.study.grid import RAW

    index: str | None = catalogue.constant(f"data.{kind}", "RAW_INDEX")
    return None if index and fetch.SOURCES[source].files and not (RAW / index).is_file() else index


def _raw_files(dataset: str, source: str, index: str | None) -> Iterator[Line]:
    """Whether the files of a source are there and have their size; ``prepare`` looks at their sha256."""
    from framecast.data.fetching import fetch
    from framecast.data.formats.sha256sums import read_sums
    from framecast.study.grid import RAW

    about, cure = f"dataset {dataset}", f"run `framecast fetch {source}`"
    folder = fetch.SOURCES[source].folder
    if folder is not None and (RAW / source / folder).is_dir():
        unpacked = sum(path.is_file() for path in (RAW / source / folder).rglob("*"))
        yield Line("ok", about, f"{unpacked} raw files of {source}, unpacked")
        return
    if index is not None and not (RAW / index).is_file():
        wanted = [RAW / index]
    elif index is not None:
        wanted = [(RAW / index).with_name(name) for name in read_sums(RAW / index)]
    else:
        files = fetch.SOURCES[source].files
        paths = {RAW / source / file.name: file.size for file in files}
        wanted = list(paths)
        for path, size in paths.items():
            if path.is_file() and size not in (None, path.stat().st_size):
                found = f"{path}: expected {size} bytes, found {path.stat().st_size}"
                yield Line("problem", about, found, f"delete it and {cure}")
    missing = [path for path in wanted if not path.is_file()]
    if not missing:
        yield Line("ok", about, f"{len(wanted)} raw files of {source}")
    elif os.environ.get(fetch.MIRROR, "").strip():
        where = f"`framecast prepare` takes it from {fetch.MIRROR}, if that has it; else {cure}"
        yield Line("warning", about, f"{missing[0]} is not here", where)
    else:
        yield Line("problem", about, f"{missing[0]} is not here ({len(missing)} missing)", cure)


def mirror(_: Surroundings) -> Iterator[Line]:
    """Whether the mirror that the environment names is a folder."""
    from framecast.data.fetching.fetch import MIRROR

    written = os.environ.get(MIRROR, "").strip()
    if not written:
        return
    address = urllib.parse.urlsplit(written)
    folder = Path(urllib.request.url2pathname(address.path)) if address.scheme == "file" else Path(written)
    if folder.is_dir():
        yield Line("ok", MIRROR, str(folder))
    else:
        yield Line("problem", MIRROR, f"found {written!r}", "allowed: a folder that is there, or its file:// address")
