"""The study: ``params.yaml``, and the raw files that it reads."""

import os
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.errors import UserError
from framecast.upkeep.doctor.findings import Line, sized
from framecast.upkeep.doctor.surroundings import Surroundings

if TYPE_CHECKING:
    from framecast.data.fetching.fetch import RemoteFile

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
            yield from _raw_files(dataset, source, _index(entry.kind, source), entry.arguments)


def _index(kind: str, source: str) -> str | None:
    """The list of the user's own files that a dataset reads; None where it would do with the published ones."""
    from framecast.data.fetching import fetch
    from framecast.study import catalogue
    from framecast.study.grid import RAW

    index: str | None = catalogue.constant(f"data.{kind}", "RAW_INDEX")
    return None if index and fetch.SOURCES[source].files and not (RAW / index).is_file() else index


def _raw_files(dataset: str, source: str, index: str | None, arguments: Mapping[str, Any]) -> Iterator[Line]:
    """Whether the files of a source are there and have their size; ``prepare`` looks at their sha256."""
    from framecast.data.fetching import fetch
    from framecast.data.formats.sha256sums import read_sums
    from framecast.study.grid import RAW

    about, cure = f"dataset {dataset}", f"run `framecast fetch {source}`"
    known = fetch.SOURCES[source]
    if known.folder is not None and (RAW / source / known.folder).is_dir():
        yield _unpacked(about, source, RAW / source / known.folder, arguments)
        return
    published: dict[Path, fetch.RemoteFile] = {}
    if index is not None and not (RAW / index).is_file():
        wanted = [RAW / index]
    elif index is not None:
        wanted = [(RAW / index).parent / name for name in read_sums(RAW / index)]
    else:
        published = {RAW / source / file.name: file for file in known.files}
        wanted = list(published)
    here = {path: path.stat().st_size for path in wanted if path.is_file()}
    for path, file in published.items():
        if path in here and file.size not in (None, here[path]):
            found = f"{path}: expected {file.size} bytes, found {here[path]}"
            yield Line("problem", about, found, f"delete it and {cure}")
    missing = [path for path in wanted if path not in here]
    if not missing:
        yield Line("ok", about, f"{len(wanted)} raw files of {source}, {sized(sum(here.values()))}")
        return
    told = f"{missing[0]} is not here ({len(missing)} missing{_wanted([published.get(path) for path in missing])})"
    if os.environ.get(fetch.MIRROR, "").strip():
        where = f"`framecast prepare` takes it from {fetch.MIRROR}, if that has it; else {cure}"
        yield Line("warning", about, told, where)
    else:
        yield Line("problem", about, told, cure)


def _wanted(files: "list[RemoteFile | None]") -> str:
    """How large these files are, roughly where their publisher does not say; nothing where it is not known."""
    sizes = [(file.size or file.about) if file else None for file in files]
    if None in sizes:
        return ""
    exact = all(file and file.size for file in files)
    return f", {'' if exact else 'some '}{sized(sum(size or 0 for size in sizes))}"


def _unpacked(about: str, source: str, folder: Path, arguments: Mapping[str, Any]) -> Line:
    """Whether a folder holds, by the names in it, what the dataset reads."""
    from framecast.data.fetching import fetch

    if (whole := fetch.SOURCES[source].whole) is not None:
        try:
            whole(folder, arguments)
        except UserError as error:
            if mirror := os.environ.get(fetch.MIRROR, "").strip():
                return Line("warning", about, str(error), f"`framecast prepare` takes what {mirror} has of it")
            return Line("problem", about, str(error))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Line("ok", about, f"{len(sizes)} raw files of {source}, unpacked, {sized(sum(sizes))}")


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
