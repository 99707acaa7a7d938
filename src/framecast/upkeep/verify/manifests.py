"""Whether a manifest and the files that it vouches for are what they were."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framecast import artifacts
from framecast.study.grid import _key
from framecast.upkeep.verify.artefacts import Artefact
from framecast.upkeep.verify.evidence import Digests, Evidence, Finding
from framecast.upkeep.verify.record import note_unrecorded

AFFECTS_NUMBERS = False
#: What may differ between two makings of the same bytes: it tells about the machine and the wording.
INCIDENTAL = ("versions", "device", "description")


def judged(artefact: Artefact, evidence: Evidence) -> list[Finding]:
    """What is wrong with one artefact; a note where it merely is not the recorded one."""
    manifest = artefact.manifest
    told = _read(manifest)
    listed = artefact.required if isinstance(told, str) else (*artefact.required, *told["sha256"])
    evidence.judged |= {manifest, *map(artefact.path, listed)}
    if isinstance(told, str):
        return [Finding(manifest, artefact.about, "a manifest", told, _remedy(artefact, manifest, evidence))]
    findings = [*_contradictions(artefact, told, evidence), *_altered(artefact, told, evidence)]
    if not findings and told.keys() >= {"fingerprints", "parameters"}:
        findings += _foreign_key(artefact, told, evidence)
    return findings or _against_the_record(artefact, told, evidence) or [*_broken_seal(artefact, told, evidence)]


def _read(manifest: Path) -> dict[str, Any] | str:
    """A manifest's content, or what was found in its place."""
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    except ValueError as error:
        return f"no JSON ({error})"
    return told if isinstance(told, dict) and isinstance(told.get("sha256"), dict) else "JSON without sha256 of files"


def _contradictions(artefact: Artefact, told: dict[str, Any], evidence: Evidence) -> Iterator[Finding]:
    """Where a manifest says something else than its place and ``params.yaml``, or vouches for too little."""
    expected = json.loads(artifacts.canonical(artefact.facts))
    remedy = _remedy(artefact, artefact.manifest, evidence)
    for name, wanted, found in _differences(expected, {name: told.get(name) for name in expected}):
        yield Finding(artefact.manifest, artefact.about, f"{name} = {wanted}", found, remedy)
    for name in sorted(set(artefact.required) - told["sha256"].keys()):
        yield Finding(artefact.manifest, artefact.about, f"the sha256 of {name}", "none", remedy)


def _differences(expected: Any, found: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted name, expected, found) of every leaf that differs."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            inner = f"{name}.{key}".lstrip(".")
            yield from _differences(expected.get(key), found.get(key), inner)
    elif expected != found:
        yield name, json.dumps(expected, ensure_ascii=False), json.dumps(found, ensure_ascii=False)


def _altered(artefact: Artefact, told: dict[str, Any], evidence: Evidence) -> Iterator[Finding]:
    """Files that are not those of the manifest, or the manifest where ``dvc.lock`` knows the file as it is."""
    for name, expected in sorted(told["sha256"].items()):
        path = artefact.path(name)
        digests = evidence.digests.get(path, Digests(trouble="no file"))
        if digests.sha256 == expected:
            continue
        found = digests.trouble or f"sha256 {digests.sha256}"
        if not evidence.as_recorded(path) or evidence.as_recorded(artefact.manifest):
            yield Finding(path, artefact.about, f"sha256 {expected}", found, _remedy(artefact, path, evidence))
        elif artefact.manifest in evidence.recorded:
            remedy = _remedy(artefact, artefact.manifest, evidence)
            wanted = f"sha256.{name} = {digests.sha256} (of the file that dvc.lock records)"
            yield Finding(artefact.manifest, artefact.about, wanted, str(expected), remedy)
        else:
            evidence.notes.append(
                f"{path} is the one that dvc.lock records, and {artefact.manifest}, which is not recorded, tells of "
                f"another: `dvc checkout` brings what belongs together, `snakemake` makes it"
            )


def _foreign_key(artefact: Artefact, told: dict[str, Any], evidence: Evidence) -> Iterator[Finding]:
    """A run whose own parameters and fingerprints do not give its key, also when ``params.yaml`` has moved on."""
    try:
        model = {name: value for name, value in told["parameters"]["model"].items() if name != "depth"}
        code, data = told["fingerprints"]["code"], told["fingerprints"]["data"]
        recipe = _key("recipe", data, told["parameters"] | {"model": model}, code)
        found = _key("run", recipe, told["depth"], told["seed"])
    except (KeyError, TypeError, AttributeError, ValueError):
        found = "none"
    if found != told["key"]:
        expected = f"parameters and fingerprints that give key {told['key']}"
        remedy = _remedy(artefact, artefact.manifest, evidence)
        yield Finding(artefact.manifest, artefact.about, expected, f"such that give {found}", remedy)


def _broken_seal(artefact: Artefact, told: dict[str, Any], evidence: Evidence) -> Iterator[Finding]:
    """A manifest that was edited; told only where nothing else says what the edit was."""
    seal = told.get("seal")
    try:
        found = artifacts.sha256(artifacts.canonical({name: value for name, value in told.items() if name != "seal"}))
    except ValueError:
        found = "of what JSON cannot hold"
    if seal not in (None, found):
        remedy = _remedy(artefact, artefact.manifest, evidence)
        yield Finding(artefact.manifest, artefact.about, f"content of sha256 {seal}", f"sha256 {found}", remedy)


def _against_the_record(artefact: Artefact, told: dict[str, Any], evidence: Evidence) -> list[Finding]:
    """Compare with ``dvc.lock`` what agrees with itself."""
    manifest, paths = artefact.manifest, [artefact.path(name) for name in told["sha256"]]
    differing = [path for path in (*paths, manifest) if evidence.as_recorded(path) is False]
    if not differing:
        return []
    copy = evidence.copy(manifest)
    was = _read(copy) if copy is not None else ""
    if differing == [manifest] and isinstance(was, dict):
        incidental = (*INCIDENTAL, *(("seal",) if "seal" in told else ()))  # a seal follows what it seals
        changes = [change for change in _differences(was, told) if change[0].split(".")[0] not in incidental]
        if changes:
            remedy = _remedy(artefact, manifest, evidence)
            return [Finding(manifest, artefact.about, f"{name} = {old}", new, remedy) for name, old, new in changes]
    why = "and its manifest agrees with it, so it was made again since"
    if differing == [manifest]:
        why = "with the same files beside it, so it was made again elsewhere" if copy else "and DVC's copy is not here"
    note_unrecorded(evidence, differing[0], artefact.about, why)
    return []


def _remedy(artefact: Artefact, path: Path, evidence: Evidence) -> str:
    """Take the recorded file back where DVC has it and the rest is as recorded; else make the artefact again."""
    others = [other for other in (artefact.manifest, *map(artefact.path, artefact.required)) if other != path]
    if evidence.copy(path) is not None and all(evidence.as_recorded(other) for other in others):
        return f"delete it, then `dvc checkout {path}` brings back what dvc.lock records"
    return artefact.anew
