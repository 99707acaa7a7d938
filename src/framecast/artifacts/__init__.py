"""Files that are either whole or absent, and always the same bytes for the same content."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from framecast.errors import UserError

AFFECTS_NUMBERS = False

_UMASK = os.umask(0)
os.umask(_UMASK)


def canonical(tree: Any) -> str:
    """JSON with sorted keys and nothing that could differ between two machines."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(content: bytes | str) -> str:
    """Hex digest of bytes or of UTF-8 text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(path: Path) -> str:
    """Hex digest of a text file as it is committed: on disk git or an editor may have ended its lines otherwise."""
    return sha256(path.read_bytes().replace(b"\r\n", b"\n"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    The file is on the disk before it gets its name, so a reader, a crash or a full disk never meets half a file. An
    existing file is replaced, not written into: a read-only hard link into a cache stays as it was. Where the block
    fails, no folder is left that was made for it.

    What the system refuses is an OSError that names ``path``, also from a library that reports it as text only.
    """
    made = _missing([path])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{_nobody_elses()}.partial")
    try:
        yield partial
        partial.chmod(0o666 & ~_UMASK)  # some writers make files that only their owner can read
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename) == partial:
            error.filename = str(path)
        raise
    except Exception as error:
        if (refusal := re.search(r"\(os error (\d+)\)", str(error))) is None:  # as safetensors words it
            raise
        number = int(refusal[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        with suppress(OSError):  # where nothing can be written nothing can be removed, which is not what went wrong
            partial.unlink(missing_ok=True)
        _remove_empty(made)


@contextmanager
def together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """A temporary path beside each of these; all take their places when the block ends well, or none does.

    Where something fails, what was there before is there again, and no folder is left that was made for them.
    """
    whole = {path.with_name(f".{path.name}.{_nobody_elses()}.whole"): path for path in paths}
    made = _missing(paths)
    try:
        with ExitStack() as stack:
            yield [stack.enter_context(replacing(one)) for one in whole]
        _take_their_places(whole)
    except OSError as error:
        error.filename = str(whole.get(Path(str(error.filename)), error.filename))
        raise
    finally:
        for one in whole:
            one.unlink(missing_ok=True)
        _remove_empty(made)


def _take_their_places(whole: Mapping[Path, Path]) -> None:
    """Move each file to its path; after a failure the old files are back."""
    old = {path: path.with_name(f".{path.name}.{_nobody_elses()}.old") for path in whole.values()}
    try:
        for one, path in whole.items():
            if path.is_file():
                path.replace(old[path])
            one.replace(path)
    except OSError:
        for one, path in whole.items():
            if not one.exists():  # it has been moved
                path.unlink()
            if old[path].exists():
                old[path].replace(path)
        raise
    for kept in old.values():
        kept.unlink(missing_ok=True)


def _missing(paths: Iterable[Path]) -> set[Path]:
    """The folders above these files that are not there yet."""
    return {folder for path in paths for folder in path.parents if not folder.exists()}


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove those in which nothing is left."""
    for folder in sorted(folders, reverse=True):  # the innermost first
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def _nobody_elses() -> str:
    """Part of a temporary name: two containers or machines in one folder may well have processes of the same number."""
    return f"{os.getpid()}-{os.urandom(4).hex()}"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, tree: Any) -> None:
    """Write JSON for people to read: sorted, indented, ending in a newline.

    A manifest, which vouches for files by their ``sha256``, also gets a ``seal`` of its own content.
    """
    if "sha256" in tree:
        tree = {**tree, "seal": sha256(canonical(tree))}
    write_text(path, json.dumps(tree, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, cure: str = "") -> Any:
    """Read a JSON file that a verb of ours wrote; UserError when it is not whole, or sealed and edited since.

    Manifests written before there were seals have none and are taken as they are. ``cure`` is what the error tells to
    do, by default to delete the folder and run again.
    """
    cure = cure or f"delete {path.parent} and run again"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found {error}; {cure}") from None
    expected = tree.pop("seal", None) if isinstance(tree, dict) else None
    if expected is not None and (found := sha256(canonical(tree))) != expected:
        raise UserError(f"{path}: its content was edited: found sha256 {found}, expected {expected}; {cure}")
    return tree


def verify(manifest: Path, *names: str) -> dict[str, Any]:
    """The content of a manifest whose named siblings are the files that it vouches for, by their sha256.

    Raises UserError with path, found and expected when the manifest or a file is missing or altered, or the manifest
    is that of another folder.
    """
    content: dict[str, Any] = read_json(manifest)
    if (key := content.get("key", manifest.parent.name)) != manifest.parent.name:
        raise UserError(
            f"{manifest}: found the manifest of key {key}, expected {manifest.parent.name}; "
            f"delete {manifest.parent} and run again"
        )
    for name in names:
        path, expected = manifest.with_name(name), content["sha256"][name]
        found = sha256_of(path) if path.exists() else "no file"
        if found != expected:
            raise UserError(f"{path}: found sha256 {found}, expected {expected}; delete {path.parent} and run again")
    return content


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some file systems cannot, and say so with an error we may ignore."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
