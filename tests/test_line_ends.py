"""What git writes on checkout is what was committed, whatever its settings: artefacts are named by hashes of it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMITTED = (
    ".gitattributes",
    "Snakefile",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    "reports",
    "slurm",
    "src",
    "workflow",
)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("settings", [("core.autocrlf=true",), ("core.autocrlf=true", "core.eol=crlf")])
def test_a_clone_has_the_bytes_that_were_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, "/dev/null")
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    for name in COMMITTED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, origin / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif (ROOT / name).exists():  # dvc.lock comes with the first recorded run
            shutil.copy(ROOT / name, origin)
    (origin / "reports" / "other.csv").write_bytes(b"ends\r\nas it\nwas made\r\n")
    git(origin, "init", "-q")
    git(origin, "add", "-A")
    git(origin, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "All")
    git(tmp_path, "clone", "-q", *(word for setting in settings for word in ("-c", setting)), "origin", "clone")
    files = [path.relative_to(clone) for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(files) > 150
    assert [path for path in files if (clone / path).read_bytes() != (origin / path).read_bytes()] == []
