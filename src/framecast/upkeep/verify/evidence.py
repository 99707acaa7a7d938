"""What was read, what is wrong with it, and whose file a path is."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from framecast.study.grid import CHECKPOINTS, FIGURES, PROCESSED, REPORTS, RUNS, SCORES

AFFECTS_NUMBERS = False


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


def whose(path: Path) -> str:
    """Whose file it is: a cell, a dataset, the tables or the report."""
    for root, what in ((PROCESSED, "dataset"), (RUNS, "cell"), (SCORES, "cell"), (CHECKPOINTS, "cell")):
        if path.is_relative_to(root) and len(path.relative_to(root).parts) > 2:
            return f"{what} {path.relative_to(root).parent.parent.as_posix()}"
    if path.is_relative_to(FIGURES) or path.name == "report.html":
        return "report"
    return "tables" if path.parent in (REPORTS, SCORES) else "list of files"
