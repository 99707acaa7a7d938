"""Hash every artefact again, in the workspace and in DVC's cache, and name what is not what it was.

What counts as *damage*, which is what fails the command:

- a file whose sha256 is not the one that its manifest holds, or that its manifest lists and that is gone;
- a manifest that cannot be read, whose seal is not that of its content, that lists too few files, or that tells of
  another key, cell, parameters or fingerprints than its place and ``params.yaml`` say; a run of an earlier
  ``params.yaml`` must still give its own key;
- a manifest that is not the one that ``dvc.lock`` records while every file that it vouches for is, and that differs
  in more than ``versions``, ``device`` and ``description``: making an artefact again gives the same manifest;
- a checkpoint whose sha256 does not begin as its name says;
- an object in DVC's cache whose content does not have the md5 that is its name.

What is only *not recorded*, and gets a note: files that differ from ``dvc.lock`` while their own manifest agrees with
them. A run of Snakemake alone on another machine makes such files, and nothing is wrong with them. Hence what cannot
be found here, being made to look like it: a file changed together with the sha256 that vouches for it and the seal
over that, which with ``dvc.lock`` is such a note and without it is silent; and, without DVC's copy of a manifest, an
edit under a new seal of what neither key nor path knows, such as the number of steps. Manifests from before there were
seals have none and are judged by the rest. Folders without a manifest are unfinished work, which the next run makes
anew.

Nothing is ever written, and neither times nor permissions are looked at.
"""

import errno
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast import artifacts
from framecast.errors import UserError
from framecast.study.grid import (
    CHECKPOINTS,
    DATA_FILES,
    FIGURES,
    PROBE_FILES,
    PROCESSED,
    REPORTS,
    RUN_FILES,
    RUNS,
    SCORE_FILES,
    SCORES,
    TABLES,
    _key,
)
from framecast.upkeep.pruning import cache_folder

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
LOCK = Path("dvc.lock")
BLOCK = 1 << 20
NOTES = 20  #: notes are printed up to this number, then counted

#: each with its manifest last
KEYED = ((PROCESSED, DATA_FILES), (RUNS, PROBE_FILES), (RUNS, RUN_FILES), (SCORES, SCORE_FILES))
OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
CHECKPOINT = re.compile(r"step-\d+-([0-9a-f]+)\.safetensors")
PROBED = re.compile(r"(\w+)/(\w+)/depth-(\d+)/causality")
TRAINED = re.compile(r"(\w+)/(\w+)/depth-(\d+)/(\w+)/seed-(\d+)")
#: What may differ between two makings of the same bytes: it tells about the machine and the wording.
INCIDENTAL = ("versions", "device", "description")


@dataclass(frozen=True)
class Digests:
    """A file as it was read: ``trouble`` says why it could not be."""

    size: int = 0
    sha256: str = ""
    md5: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that is not what it was."""

    path: Path
    about: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} ({self.about}): expected {self.expected}, found {self.found}; {self.remedy}"


@dataclass(frozen=True)
class Artefact:
    """A manifest, the files that it must vouch for, and what it must say of itself."""

    manifest: Path
    required: tuple[str, ...]
    about: str
    facts: Mapping[str, Any]
    is_wanted: bool = True  #: whether params.yaml asks for it now

    def path(self, name: str) -> Path:
        """Where a listed file lies: beside the manifest, or in ``reports`` for what gathers every score."""
        if self.manifest.name.startswith("tables-") or name == "report.html":
            return REPORTS / name
        return self.manifest.parent / name

    @property
    def anew(self) -> str:
        """What makes the artefact again."""
        folder = self.manifest.parent
        if not self.is_wanted:
            return f"delete {folder}, which params.yaml and the code no longer ask for"
        return f"delete {self.manifest if folder in (SCORES, FIGURES) else folder} and run `snakemake`"


@dataclass
class Evidence:
    """Everything that was read: the digests of all files, and what ``dvc.lock`` records of them."""

    digests: dict[Path, Digests] = field(default_factory=dict)
    recorded: dict[Path, str] = field(default_factory=dict)  #: path → md5
    objects: dict[str, Path] = field(default_factory=dict)  #: md5 → its object in DVC's cache
    judged: set[Path] = field(default_factory=set)  #: what a manifest vouches for, and the manifests
    notes: list[str] = field(default_factory=list)

    def as_recorded(self, path: Path) -> bool | None:
        """Whether a file is the one that ``dvc.lock`` records; None where it records none."""
        if path not in self.recorded:
            return None
        return path in self.digests and self.digests[path].md5 == self.recorded[path]

    def copy(self, path: Path) -> Path | None:
        """DVC's copy of a recorded file, when it is whole."""
        md5 = self.recorded.get(path, "")
        copy = self.objects.get(md5)
        return copy if copy is not None and self.digests[copy].md5 == md5 else None

    @cached_property
    def places(self) -> dict[str, Path]:
        """md5 → a file that ``dvc.lock`` records with it."""
        return {md5: path for path, md5 in reversed(self.recorded.items())}


def verify(grid: "Grid") -> None:
    """Print one line for each thing that is not what it was, and how much was hashed.

    Raises UserError when there is damage, after every line of it was printed. Never modifies anything.
    """
    evidence = Evidence()
    findings: list[Finding] = []
    evidence.objects = dict(_objects(cache_folder() / "files" / "md5"))
    workspace = [*_artefact_files(), *_checkpoints()]
    _read_lock(evidence, findings)
    _hash_all(evidence, workspace)
    findings += _damaged_objects(evidence)
    findings += _damaged_checkpoints(evidence)
    for artefact in _artefacts(grid, evidence):
        findings += _judged(artefact, evidence)
    _note_the_rest(evidence)
    _tell(evidence, findings, len(workspace))


def _tell(evidence: Evidence, findings: list[Finding], in_workspace: int) -> None:
    for line in [*findings, *(f"note: {note}" for note in evidence.notes[:NOTES])]:
        print(line)
    if more := len(evidence.notes[NOTES:]):
        print(f"note: {more} more of these")
    count, size = len(evidence.digests), sum(found.size for found in evidence.digests.values())
    where = f"{in_workspace} in the workspace, {len(evidence.objects)} in DVC's cache"
    hint = "" if count else "; nothing has been made here yet: run `snakemake` or `dvc pull`"
    print(f"{count} files, {_bytes(size)} hashed ({where}): {_count(findings)} damaged{hint}")
    if findings:
        raise UserError(f"verify: found {_count(findings)} damaged in {count} files; each is named above with its cure")


def _count(findings: list[Finding]) -> str:
    return str(len({finding.path for finding in findings})) if findings else "none"


# --- what there is ----------------------------------------------------------------------------------


def _files(root: Path) -> Iterator[Path]:
    """Every file under a folder except hidden ones, which are half-written."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _artefact_files() -> Iterator[Path]:
    for root in (PROCESSED, RUNS, SCORES, FIGURES):
        yield from _files(root)
    yield from (path for name in (*TABLES, "report.html") if (path := REPORTS / name).is_file())


def _checkpoints() -> Iterator[Path]:
    return (path for path in _files(CHECKPOINTS) if CHECKPOINT.fullmatch(path.name))


def _objects(root: Path) -> Iterator[tuple[str, Path]]:
    """md5 → object, for everything in a DVC cache."""
    for path in _files(root):
        if len(path.parent.name) == 2 and OBJECT.fullmatch(path.name):
            yield path.parent.name + path.name, path


def _read_lock(evidence: Evidence, findings: list[Finding]) -> None:
    """Take the md5 of every output that ``dvc.lock`` names, directories through the lists in DVC's cache."""
    import yaml

    if not LOCK.is_file():
        return
    try:
        stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"].values()
        outputs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ()) if "md5" in out}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        findings.append(Finding(LOCK, "DVC's record", "a DVC lock file", found, f"run `git checkout -- {LOCK}`"))
        return
    unlisted = []
    for path, md5 in outputs.items():
        evidence.recorded[Path(path)] = md5
        if not md5.endswith(".dir"):
            continue
        if (entries := _listed(evidence, md5)) is None:
            unlisted.append(path)
        else:
            evidence.recorded |= {Path(path, entry["relpath"]): entry["md5"] for entry in entries}
    if unlisted:
        where = ", ".join(unlisted)
        evidence.notes.append(f"{where}: DVC's cache has no whole list of these files, so their manifests alone judge")


def _listed(evidence: Evidence, md5: str) -> list[dict[str, str]] | None:
    """What a ``.dir`` object lists; None where it is missing or not what its name says."""
    if (path := evidence.objects.get(md5)) is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir" != md5:
        return None
    return json.loads(content)


# --- hashing ----------------------------------------------------------------------------------------


def _hash_all(evidence: Evidence, workspace: list[Path]) -> None:
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
            print(f"\rhashing: {number}/{total} files, {_bytes(size)} ", end=end, file=sys.stderr, flush=True)
        yield found


def _bytes(size: int) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} B"


# --- DVC's cache and checkpoints ----------------------------------------------------------------------


def _damaged_objects(evidence: Evidence) -> Iterator[Finding]:
    for md5, path in evidence.objects.items():
        found = evidence.digests[path]
        if found.md5 == md5 and not found.trouble:
            continue
        place = evidence.places.get(md5)
        about = f"DVC's copy of {place}, {_about(place)}" if place else "DVC's copy, of no file that dvc.lock names now"
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


def _damaged_checkpoints(evidence: Evidence) -> Iterator[Finding]:
    for path, found in evidence.digests.items():
        match = CHECKPOINT.fullmatch(path.name)
        if match is None or not path.is_relative_to(CHECKPOINTS) or found.trouble == "no file":  # training dropped it
            continue
        if found.trouble or not found.sha256.startswith(match[1]):
            seen = found.trouble or f"sha256 {found.sha256[: len(match[1])]}…"
            remedy = "delete it; training goes on from the checkpoint before it, or begins anew where there is none"
            yield Finding(path, _about(path), f"sha256 {match[1]}…", seen, remedy)


# --- manifests ----------------------------------------------------------------------------------------


def _artefacts(grid: "Grid", evidence: Evidence) -> Iterator[Artefact]:
    """Everything that has a manifest."""
    present = _present(grid, {path.parent for path in evidence.digests})
    for path in evidence.digests:
        for root, names in KEYED:
            if path.name == names[-1] and path.is_relative_to(root) and path.parent.parent != root:
                folder = path.parent
                facts = _told_by_the_path(root, folder) | present.get(folder, {})
                yield Artefact(path, names[:-1], _about(path), facts, folder in present)
    for manifest, required in ((grid.tables_manifest, TABLES), (grid.report_manifest, ("report.html",))):
        kind = manifest.name.split("-")[0]
        there = [path for path in evidence.digests if path.parent == manifest.parent and path.match(f"{kind}-*.json")]
        for path in [manifest] if manifest in there else there:
            yield Artefact(path, required, kind, {"key": path.stem.removeprefix(f"{kind}-")})


def _told_by_the_path(root: Path, folder: Path) -> dict[str, Any]:
    name = folder.parent.relative_to(root).as_posix()
    if root == PROCESSED:
        return {"key": folder.name, "dataset": name}
    if root == RUNS and (match := PROBED.fullmatch(name)) is not None:
        return {"key": folder.name, "dataset": match[1], "model": match[2], "depth": int(match[3])}
    facts: dict[str, Any] = {"key": folder.name, "cell": name}
    if (match := TRAINED.fullmatch(name)) is not None:
        dataset, model, depth, loss, seed = match.groups()
        return facts | {"dataset": dataset, "model": model, "depth": int(depth), "loss": loss, "seed": int(seed)}
    dataset, _, model = name.partition("/")
    return facts | {"dataset": dataset, "model": model, "depth": None, "loss": None, "seed": None}


def _present(grid: "Grid", there: set[Path]) -> dict[Path, dict[str, Any]]:
    """What ``params.yaml`` and the code say about the folders that they ask for now, as far as these are there."""
    facts: dict[Path, dict[str, Any]] = {}
    for name in grid.datasets:
        entry = grid.params.datasets[name]
        facts[grid.data_folder(name)] = {"parameters": {"kind": entry.kind, **entry.arguments}}
    for cell in grid.probes:
        if (folder := grid.probe_folder(cell)) in there:
            facts[folder] = {"parameters": grid.probe_parameters(cell)}
    for cell in grid.cells:
        if (folder := grid.run_folder(cell)) in there:
            fingerprints = {"code": grid.code(cell), "data": grid.data_key(cell.dataset)}
            facts[folder] = {"parameters": grid.parameters(cell), "fingerprints": fingerprints}
    for cell in grid.scored:
        if (folder := grid.score_folder(cell)) in there:
            facts[folder] = _score_facts(grid, cell)
    return facts


def _score_facts(grid: "Grid", cell: "Cell") -> dict[str, Any]:
    parameters = grid.parameters(cell)
    return {
        "run_key": None if cell.is_baseline else grid.run_key(cell),
        "scale": grid.params.scale,
        "split": "test",
        "mode": next(iter(grid.params.protocols(cell.dataset))),
        "frames": grid.params.frames(cell.dataset),
        "primary_metric": grid.params.evaluation.primary,
        "parameters": {name: parameters[name] for name in ("dataset", "model")},
    }


def _judged(artefact: Artefact, evidence: Evidence) -> list[Finding]:
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
    _note_unrecorded(evidence, differing[0], artefact.about, why)
    return []


def _note_unrecorded(evidence: Evidence, path: Path, about: str, why: str) -> None:
    expected, found = evidence.recorded[path], evidence.digests[path].md5
    evidence.notes.append(
        f"{path} ({about}): dvc.lock records md5 {expected}, found md5 {found}, {why}; `dvc repro` records it"
    )


def _remedy(artefact: Artefact, path: Path, evidence: Evidence) -> str:
    """Take the recorded file back where DVC has it and the rest is as recorded; else make the artefact again."""
    others = [other for other in (artefact.manifest, *map(artefact.path, artefact.required)) if other != path]
    if evidence.copy(path) is not None and all(evidence.as_recorded(other) for other in others):
        return f"delete it, then `dvc checkout {path}` brings back what dvc.lock records"
    return artefact.anew


def _note_the_rest(evidence: Evidence) -> None:
    """Recorded files that no manifest vouches for, and those that were never pulled: neither is damage."""
    unjudged = (evidence.recorded.keys() & evidence.digests.keys()) - evidence.judged
    for path in sorted(path for path in unjudged if not evidence.as_recorded(path)):
        _note_unrecorded(evidence, path, _about(path), "and no manifest vouches for either")
    elsewhere = evidence.recorded.keys() - evidence.digests.keys()
    wanted = {path: md5 for path in elsewhere if not (md5 := evidence.recorded[path]).endswith(".dir")}
    if missing := sorted(path for path, md5 in wanted.items() if md5 not in evidence.objects):
        evidence.notes.append(f"{len(missing)} files of dvc.lock are not here ({missing[0]} …): `dvc pull` brings them")


def _about(path: Path) -> str:
    """Whose file it is: a cell, a dataset, the tables or the report."""
    for root, what in ((PROCESSED, "dataset"), (RUNS, "cell"), (SCORES, "cell"), (CHECKPOINTS, "cell")):
        if path.is_relative_to(root) and len(path.relative_to(root).parts) > 2:
            return f"{what} {path.relative_to(root).parent.parent.as_posix()}"
    if path.is_relative_to(FIGURES) or path.name == "report.html":
        return "report"
    return "tables" if path.parent in (REPORTS, SCORES) else "list of files"
