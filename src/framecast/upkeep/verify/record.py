"""What ``dvc.lock`` records, which by itself is never damage."""

import hashlib
import json
from pathlib import Path

from framecast import plain_yaml
from framecast.errors import UserError
from framecast.upkeep.verify.evidence import Evidence, Finding, whose
from framecast.upkeep.verify.files import object_path

AFFECTS_NUMBERS = False
LOCK = Path("dvc.lock")


def read_lock(evidence: Evidence, findings: list[Finding], cache: Path) -> None:
    """Take the md5 of every output that ``dvc.lock`` names, directories through the lists in DVC's cache."""
    if not LOCK.is_file():
        return
    try:
        stages = plain_yaml.read(LOCK)["stages"].values()
        outputs = {out["path"]: str(out["md5"]) for stage in stages for out in stage.get("outs", ()) if "md5" in out}
    except (UserError, KeyError, TypeError, AttributeError) as error:
        told = str(error).removeprefix(f"{LOCK}: ")
        found = told if isinstance(error, UserError) else f"{type(error).__name__}: {told}"
        findings.append(Finding(LOCK, "DVC's record", "a DVC lock file", found, f"run `git checkout -- {LOCK}`"))
        return
    unlisted = []
    for path, md5 in outputs.items():
        evidence.recorded[Path(path)] = md5
        if not md5.endswith(".dir"):
            continue
        if (entries := _listed(object_path(cache, md5), md5)) is None:
            unlisted.append(path)
        else:
            evidence.recorded |= {Path(path, entry["relpath"]): entry["md5"] for entry in entries}
    if unlisted:
        where = ", ".join(unlisted)
        evidence.notes.append(f"{where}: DVC's cache has no whole list of these files, so their manifests alone judge")


def _listed(path: Path, md5: str) -> list[dict[str, str]] | None:
    """What a ``.dir`` object lists; None where it is missing or not what its name says."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir" != md5:
        return None
    return json.loads(content)


def note_unrecorded(evidence: Evidence, path: Path, about: str, why: str) -> None:
    """Note a file that is not the recorded one, and why that is no damage."""
    expected, found = evidence.recorded[path], evidence.digests[path].md5
    evidence.notes.append(
        f"{path} ({about}): dvc.lock records md5 {expected}, found md5 {found}, {why}; `dvc repro` records it"
    )


def note_the_rest(evidence: Evidence) -> None:
    """Recorded files that no manifest vouches for, and those that were never pulled: neither is damage."""
    unjudged = (evidence.recorded.keys() & evidence.digests.keys()) - evidence.judged
    for path in sorted(path for path in unjudged if not evidence.as_recorded(path)):
        note_unrecorded(evidence, path, whose(path), "and no manifest vouches for either")
    elsewhere = evidence.recorded.keys() - evidence.digests.keys()
    wanted = {path: md5 for path in elsewhere if not (md5 := evidence.recorded[path]).endswith(".dir")}
    if missing := sorted(path for path, md5 in wanted.items() if md5 not in evidence.objects):
        evidence.notes.append(f"{len(missing)} files of dvc.lock are not here ({missing[0]} …): `dvc pull` brings them")
