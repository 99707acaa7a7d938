"""sha1, where nothing better is known of a published file."""

import hashlib
from pathlib import Path

from framecast.errors import UserError


def verify_sha1(path: Path, expected: str, *, remedy: str) -> None:
    """Raise UserError with path, expected and found unless the file has this sha1."""
    if not path.is_file():
        raise UserError(f"{path}: expected a file with sha1 {expected}, found none; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != expected:
        raise UserError(
            f"{path}: expected sha1 {expected}, found {found} ({path.stat().st_size} bytes): "
            f"the file was changed or cut off; delete it or move it away, then {remedy}"
        )
