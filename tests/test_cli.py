"""How a command ends that cannot do what it is asked: one line on standard error, whatever the reason."""

import gc
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from framecast import cli
from framecast.upkeep import status

Ends = Callable[[], str]


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """``framecast grid``, in this process, which goes on afterwards in the surroundings that it has."""
    monkeypatch.setattr(sys, "argv", ["framecast", "grid"])
    monkeypatch.setattr(cli, "_forget_surroundings", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)


@pytest.fixture
def ends(capsys: pytest.CaptureFixture[str]) -> Ends:
    """The line that the command ends with."""

    def line() -> str:
        with pytest.raises(SystemExit) as found:
            cli.main()
        assert found.value.code == 1
        (told,) = capsys.readouterr().err.splitlines()
        return str(told)

    return line


def test_a_folder_that_was_removed(ends: Ends, study: Path) -> None:
    shutil.rmtree(study)
    assert ends() == "framecast: the working folder, which was removed: no such file or directory"


def test_a_folder_that_is_removed_while_its_cells_are_watched(
    ends: Ends, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["framecast", "status", "--watch"])
    # The clock of that module alone: who waits for a program sleeps, too, on a busy machine.
    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=lambda _: shutil.rmtree(study)))
    assert ends() == "framecast: the working folder, which was removed: no such file or directory"


@pytest.mark.parametrize("name", ["params.yaml", "a folder"])
def test_a_file_that_cannot_be_read(ends: Ends, study: Path, name: str) -> None:
    (study / "params.yaml").unlink()
    (study / "params.yaml").mkdir() if name == "a folder" else (study / "params.yaml").symlink_to("params.yaml")
    told = "is a directory" if name == "a folder" else "too many levels of symbolic links"
    assert ends() == f"framecast: params.yaml: {told}; allowed: a file that this user can read"


SIZES: dict[str, Callable[[], object]] = {
    "NumPy, more than there is": lambda: np.empty(10**17),
    "NumPy, past counting": lambda: np.empty((2**40, 2**40)),
    "NumPy, past its indices": lambda: np.random.default_rng(0).random((2**63 - 1, 4)),
    "torch, more than there is": lambda: torch.empty(10**16),
    "torch, past counting": lambda: torch.empty(2**40, 2**40),
}


@pytest.mark.parametrize("size", SIZES)
def test_sizes_that_no_memory_holds(ends: Ends, study: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setattr(cli, "_grid", SIZES[size])
    told = ends()
    assert told.startswith("framecast: out of memory")
    assert told.endswith("; ask params.yaml for less")


def test_a_fault_of_ours_is_not_taken_for_a_lack_of_memory(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_grid", lambda: int("one"))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main()


def test_a_dataset_that_no_study_uses_is_prepared(study: Path) -> None:
    """As a part of a set that is too small for a study: its arrays can be looked at all the same."""
    params = study / "params.yaml"
    spare = "spare: {kind: generated_sins, context: 5, horizon: 5, train: 8, validation: 4, test: 4}"
    params.write_text(
        params.read_text().replace("datasets:\n  generated_sins", f"datasets:\n  {spare}\n  generated_sins")
    )
    cli.prepare("spare")
    assert len(list(study.glob("data/processed/spare/*/manifest.json"))) == 1
