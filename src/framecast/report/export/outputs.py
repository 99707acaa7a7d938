"""Where an export goes: what this verb wrote it may write again, what anybody else wrote it leaves alone."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framecast import artifacts
from framecast.errors import UserError

LIST = "framecast-export.json"  #: in an exported folder: the names of the files that were written


def expect_own_file(path: Path, first_line: str) -> None:
    """Refuse a path at which something lies whose first line is not that of an export."""
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if file.readline(10_000).rstrip(b"\r\n").decode(errors="replace") == first_line:
                return
    raise UserError(
        f"--output: {path} exists, and is not what `framecast export` wrote there; delete it or name another file"
    )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends well.

    Raises UserError, before the block, where there is something else than an export or an empty folder: a file that
    somebody has put into an exported folder is not thrown away with it.
    """
    _expect_own_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        artifacts.write_json(partial / LIST, sorted({*_files(partial), LIST}))
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _expect_own_folder(path: Path) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir() or not (path / LIST).is_file():
        found = "exists, and is not what `framecast export` wrote there"
    elif others := sorted(_files(path) - set(artifacts.read_json(path / LIST, f"delete {path}"))):
        found = f"holds {others[0]}, which `framecast export` did not write"
    else:
        return
    raise UserError(f"--output: {path} {found}; delete it or name another folder")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
