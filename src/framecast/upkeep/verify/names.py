"""Files whose name says what they hash to: the objects of DVC's cache, and checkpoints."""

from collections.abc import Iterator
from pathlib import Path

from framecast.study.grid import CHECKPOINTS, REPORTS
from framecast.upkeep.verify.evidence import Evidence, Finding, whose
from framecast.upkeep.verify.files import CHECKPOINT

AFFECTS_NUMBERS = False


def damaged_objects(evidence: Evidence) -> Iterator[Finding]:
    """Objects of DVC's cache whose content is not that of their name."""
    for md5, path in evidence.objects.items():
        found = evidence.digests[path]
        if found.md5 == md5 and not found.trouble:
            continue
        place = evidence.places.get(md5)
        about = f"DVC's copy of {place}, {whose(place)}" if place else "DVC's copy, of no file that dvc.lock names now"
        seen = found.trouble or f"md5 {found.md5}"
        yield Finding(path, about, f"md5 {md5}", seen, _object_remedy(evidence, path, md5))


def _object_remedy(evidence: Evidence, path: Path, md5: str) -> str:
    place = evidence.places.get(md5)
    if place is None:
        return "delete it; where an earlier commit needs it, `dvc fetch --all-commits` brings it from the remote"
    if evidence.as_recorded(place) and place.is_file() and not place.samefile(path):
        return f"the workspace has it whole: `rm -f {path} && cp {place} {path}`"
    what = place if place.parent == REPORTS else place.parent
    otherwise = "`dvc commit` lists the folder anew" if md5.endswith(".dir") else f"delete {what} too and `dvc repro`"
    return f"delete it, then `dvc fetch` brings it from the remote; without a remote, {otherwise}"


def damaged_checkpoints(evidence: Evidence) -> Iterator[Finding]:
    """Checkpoints whose sha256 does not begin as their name says."""
    for path, found in evidence.digests.items():
        match = CHECKPOINT.fullmatch(path.name)
        if match is None or not path.is_relative_to(CHECKPOINTS) or found.trouble == "no file":  # training dropped it
            continue
        if found.trouble or not found.sha256.startswith(match[1]):
            seen = found.trouble or f"sha256 {found.sha256[: len(match[1])]}…"
            remedy = "delete it; training goes on from the checkpoint before it, or begins anew where there is none"
            yield Finding(path, whose(path), f"sha256 {match[1]}…", seen, remedy)
