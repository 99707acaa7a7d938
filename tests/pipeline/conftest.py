"""A small study in real git clones, run by the real Snakemake and the real DVC."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests import warm
from tests.conftest import BIN, ROOT, compile_source, run, share_compiled

TRACKED = ("Snakefile", "workflow", "profiles", "slurm", "gpus", "src", "dvc.yaml", ".dvcignore", ".gitignore")
KEYED = ("processed", "runs", "scores")
SMALLER = {"seeds: [1, 2]": "seeds: [1]", "baselines: [copy_last, zeros, least_squares]": "baselines: [copy_last]"}

LSTM = "generated_sins/seq2seq_lstm/depth-{}/mse/seed-1"
CONVLSTM = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
MADE_OF_ALL = {"tables", "report"}  #: what gathers every score is made anew whenever one of them is


@dataclass(frozen=True)
class Clone:
    """A git clone of the study with everything that the two engines need."""

    folder: Path

    def __call__(self, *command: str, check: bool = True, cold: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program here, with the clone's own source first on the path; ``cold``: see ``run``."""
        return run(*command, cwd=self.folder, check=check, cold=cold, **self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """A DVC without shared state or update checks, and somebody who commits."""
        who = {f"GIT_{role}_{what}": f"{what}@test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        place = {"DVC_SITE_CACHE_DIR": str(self.folder.parent / "dvc-site"), "GIT_CONFIG_GLOBAL": "/dev/null"}
        return {"PYTHONPATH": str(self.folder / "src"), "CI": "true", **who, **place}

    def git(self, *arguments: str) -> str:
        """Run git, and give what it says."""
        return self(str(shutil.which("git")), *arguments).stdout

    def commit(self, message: str) -> None:
        """Record everything that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def typed(self, script: str) -> str:
        """Run a block of shell commands here, with warm programs, and give what it prints."""
        path = os.pathsep.join([str(warm.programs()), str(BIN), os.environ["PATH"]])
        return self(str(shutil.which("env")), f"PATH={path}", "bash", "-euo", "pipefail", "-c", script).stdout

    def edit(self, file: str, *changes: tuple[str, str]) -> None:
        """Replace text that occurs exactly once."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{file}: {old!r} occurs {text.count(old)} times"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def planned(self) -> set[str]:
        """What Snakemake would make: ``<phase>/<cell>`` for keyed folders, the rule's name for the rest."""
        told = self("snakemake", "--dry-run", "--quiet", "host").stdout
        outputs = re.findall(r"^rule (\w+):\n(?:.*\n)*?    output: ([^,\n]+)", told, re.MULTILINE)
        return {_named(output) if output.startswith("data/") and rule != "tables" else rule for rule, output in outputs}

    def artefacts(self) -> dict[str, tuple[int, int]]:
        """Every keyed file with its inode and time of change; equal means never written again."""
        found = {}
        for phase in KEYED:
            for path in (self.folder / "data" / phase).glob("*/**/*.*"):
                if path.is_file():
                    found[path.relative_to(self.folder).as_posix()] = path.stat().st_ino, path.stat().st_mtime_ns
        return found

    def made_since(self, before: dict[str, tuple[int, int]]) -> set[str]:
        """``<phase>/<cell>`` of everything that was written, or taken away, since ``artefacts`` was asked."""
        now = self.artefacts()
        return {_named(path) for path in before.keys() | now.keys() if before.get(path) != now.get(path)}

    def assert_quiet(self) -> None:
        """Neither engine finds anything to do, and git nothing to record."""
        assert "Nothing to be done" in self("snakemake", "--dry-run").stdout
        assert "Data and pipelines are up to date." in self("dvc", "status").stdout
        assert self.git("status", "--porcelain") == ""


def _named(output: str) -> str:
    """``data/runs/<cell>/<key>/model.safetensors`` → ``runs/<cell>``."""
    return Path(output).relative_to("data").parent.parent.as_posix()


def cell_files(*cells: str) -> set[str]:
    """What is made again for trained cells."""
    return {f"{phase}/{cell}" for phase in ("runs", "scores") for cell in cells}


def probe_files(*cells: str) -> set[str]:
    """What is made again for the systems of trained cells whose causality has to be looked at again."""
    return {f"runs/{cell.rsplit('/', 2)[0]}/causality" for cell in cells}


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clone]:
    """A maker of fresh clones in which nothing has run, all with the same local directory as DVC remote.

    Their source is compiled already, for all of them at once.
    """
    place = tmp_path_factory.mktemp("clones")
    source = Clone(place / "source")
    source.folder.mkdir()
    for name in TRACKED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source.folder / name)
    for cache in list(source.folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    shutil.copytree(ROOT / ".dvc" / "plots", source.folder / ".dvc" / "plots")
    (source.folder / "reports" / "records").mkdir(parents=True)
    shutil.copy(ROOT / "reports" / "records" / "README.md", source.folder / "reports" / "records")
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, source.folder / ".dvc" / name)
    shutil.copy(ROOT / "tests" / "params.yaml", source.folder / "params.yaml")
    source.edit("params.yaml", *SMALLER.items())
    source.git("init", "--quiet", "--initial-branch", "main")
    source("dvc", "remote", "add", "--default", "store", str(place / "store"))
    source.commit("The study, not yet run")
    compile_source(source.folder)
    numbers = itertools.count(1)

    def clone(origin: Path = source.folder) -> Clone:
        made = Clone(place / f"clone-{next(numbers)}")
        source.git("clone", "--quiet", str(origin), str(made.folder))
        share_compiled(source.folder, made.folder)
        return made

    return clone


@pytest.fixture(scope="session")
def built(fresh: Callable[[], Clone], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The study made by ``dvc repro``, committed and pushed. Shared, also between workers: look, do not touch.

    Made by the real programs, so that whatever is compared with it holds warm processes against them.
    """
    base = tmp_path_factory.getbasetemp()  # each worker's own, within that of the whole run
    where = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    with FileLock(where.with_suffix(".lock")):
        if where.exists():
            return Clone(Path(where.read_text(encoding="utf-8")))
        clone = fresh()
        for cache in list((clone.folder / "src").rglob("__pycache__")):  # and from nothing, as a user's first run
            shutil.rmtree(cache)
        clone("dvc", "repro", cold=True)
        clone.commit("The study, run")
        clone("dvc", "push")
        where.write_text(str(clone.folder), encoding="utf-8")
        return clone


@pytest.fixture(scope="session")
def pulled_once(built: Clone, fresh: Callable[..., Clone]) -> Clone:
    """A git clone of the built study with what ``dvc pull`` brings. Shared: look, do not touch."""
    clone = fresh(built.folder)
    clone("dvc", "pull")
    return clone


@pytest.fixture
def pulled(pulled_once: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The built study in a folder of its own, as it is after ``git clone`` and ``dvc pull``: no engine's metadata."""
    place = tmp_path_factory.mktemp("pulled")
    return Clone(shutil.copytree(pulled_once.folder, place / "clone", symlinks=True))
