"""``SHA256SUMS``: what a folder of raw files must contain, in the format that ``sha256sum -c`` reads.

One line per file, ``<64 hex digits>  <name>``, sorted by name. It is how a hand-edited, truncated or half-downloaded
file is told from the published one where no checksum was published.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from framecast.artifacts import sha256_of, write_text
from framecast.errors import UserError

LINE = re.compile(r"([0-9a-f]{64}) [ *](?!/)(.+)")


def verify(path: Path, expected: str, *, remedy: str) -> None:
    """Raise UserError with path, expected and found unless the file has this sha256."""
    if not path.is_file():
        raise UserError(f"{path}: expected a file with sha256 {expected}, found none; {remedy}")
    if (found := sha256_of(path)) != expected:
        raise UserError(
            f"{path}: expected sha256 {expected}, found {found} ({path.stat().st_size} bytes): "
            f"the file was changed or cut off; delete it or move it away, then {remedy}"
        )


def read_sums(path: Path) -> dict[str, str]:
    """File name → sha256, sorted by name, without the list itself, which ``sha256sum * > SHA256SUMS`` may have met.

    UserError when a line is not ``<sha256>  <name inside this folder>``, or gives a name another sha256 than before.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        match = LINE.fullmatch(line)
        if match is None or ".." in Path(match[2]).parts:
            raise UserError(f"{path}, line {number}: expected '<sha256>  <name inside this folder>', found {line!r}")
        name = str(Path(match[2]))  # ./daily.csv is daily.csv
        if name != path.name and sums.setdefault(name, match[1]) != match[1]:
            raise UserError(f"{path}, line {number}: expected one sha256 of each file, found another of {name!r}")
    return dict(sorted(sums.items()))


def write_sums(path: Path, sums: Mapping[str, str]) -> None:
    """Replace the index in one step: a reader sees the old one or the new one, whole."""
    write_text(path, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
