"""Everything that has a manifest, and what its place and ``params.yaml`` say that this must tell."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.study.grid import (
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
)
from framecast.upkeep.verify.evidence import Evidence, whose

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
#: each with its manifest last
KEYED = ((PROCESSED, DATA_FILES), (RUNS, PROBE_FILES), (RUNS, RUN_FILES), (SCORES, SCORE_FILES))
PROBED = re.compile(r"(\w+)/(\w+)/depth-(\d+)/causality")
TRAINED = re.compile(r"(\w+)/(\w+)/depth-(\d+)/(\w+)/seed-(\d+)")


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


def artefacts(grid: "Grid", evidence: Evidence) -> Iterator[Artefact]:
    """Everything that has a manifest."""
    present = _present(grid, {path.parent for path in evidence.digests})
    for path in evidence.digests:
        for root, names in KEYED:
            if path.name == names[-1] and path.is_relative_to(root) and path.parent.parent != root:
                folder = path.parent
                facts = _told_by_the_path(root, folder) | present.get(folder, {})
                yield Artefact(path, names[:-1], whose(path), facts, folder in present)
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
    return {
        "run_key": None if cell.is_baseline else grid.run_key(cell),
        "scale": grid.params.scale,
        "split": "test",
        "mode": next(iter(grid.params.protocols(cell.dataset))),
        "frames": grid.params.frames(cell.dataset),
        "primary_metric": grid.params.evaluation.primary,
        "parameters": grid.score_parameters(cell),
    }
