"""Which files there are, and what they hash to: everything is read once."""

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from framecast.study.grid import CHECKPOINTS, FIGURES, PROCESSED, REPORTS, RUNS, SCORES, TABLES
from framecast.upkeep.dvc_config import FOLDER
from framecast.upkeep.verify.evidence import Digests, Evidence

AFFECTS_NUMBERS = False
BLOCK = 1 << 20
OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
CHECKPOINT = re.compile(r"step-\d+-([0-9a-f]+)\.safetensors")


def _files(root: Path) -> Iterator[Path]:
    """Every file under a folder except hidden ones, which are half-written."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def artefact_files() -> Iterator[Path]:
    """Every file that a verb has made, except checkpoints."""
    for root in (PROCESSED, RUNS, SCORES, FIGURES):
        yield from _files(root)
    yield from (path for name in (*TABLES, "report.html") if (path := REPORTS / name).is_file())


def checkpoints() -> Iterator[Path]:
    """Every generation of every checkpoint."""
    return (path for path in _files(CHECKPOINTS) if CHECKPOINT.fullmatch(path.name))


def object_path(cache: Path, md5: str) -> Path:
    """Where a DVC cache keeps the content with this md5."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def is_ours_alone(cache: Path) -> bool:
    """Whether a DVC cache is the one that comes with this repository."""
    return cache.is_relative_to(FOLDER)


def named_objects(cache: Path, evidence: Evidence) -> Iterator[tuple[str, Path]]:
    """md5 → object, for what ``dvc.lock`` names and a DVC cache has."""
    for md5 in dict.fromkeys(evidence.recorded.values()):
        if (path := object_path(cache, md5)).is_file():
            yield md5, path


def objects(cache: Path) -> Iterator[tuple[str, Path]]:
    """md5 → object, for everything in a DVC cache."""
    for path in _files(cache / "files" / "md5"):
        if len(path.parent.name) == 2 and OBJECT.fullmatch(path.name):
            yield path.parent.name + path.name, path


def hash_all(evidence: Evidence, workspace: list[Path]) -> None:
    """Read every file once; hashlib leaves the other threads running while it works."""
    jobs = [(path, True, path in evidence.recorded) for path in workspace]
    jobs += [(path, False, True) for path in evidence.objects.values()]
    pool = ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2))
    try:
        for (path, *_), found in zip(jobs, _counted(pool.map(_hashed, jobs), len(jobs)), strict=True):
            evidence.digests[path] = found
    finally:
        pool.shutdown(cancel_futures=True)
    for md5, path in evidence.objects.items():
        if md5.endswith(".dir"):  # their name says what they are, too
            found = evidence.digests[path]
            evidence.digests[path] = Digests(found.size, "", f"{found.md5}.dir", found.trouble)


def _hashed(job: tuple[Path, bool, bool]) -> Digests:
    path, with_sha256, with_md5 = job
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                size += len(block)
                if with_sha256:
                    sha256.update(block)
                if with_md5:
                    md5.update(block)
    except OSError as error:
        return Digests(trouble="no file" if error.errno == errno.ENOENT else f"a file that cannot be read ({error})")
    return Digests(size, sha256.hexdigest() if with_sha256 else "", md5.hexdigest() if with_md5 else "")


def _counted(results: Iterable[Digests], total: int) -> Iterator[Digests]:
    """Pass results on, with a running count where standard error is a terminal."""
    size, told = 0, 0.0
    for number, found in enumerate(results, start=1):
        size += found.size
        if sys.stderr.isatty() and (time.monotonic() - told > 0.2 or number == total):
            told = time.monotonic()
            end = "\n" if number == total else ""
            print(f"\rhashing: {number}/{total} files, {size_in_words(size)} ", end=end, file=sys.stderr, flush=True)
        yield found


def size_in_words(size: int) -> str:
    """A number of bytes as people read it."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} B"
