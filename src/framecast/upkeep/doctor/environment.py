"""The environment: Python, the distributions of ``requirements.lock``, devices."""

import importlib
import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from framecast.errors import UserError
from framecast.upkeep.doctor.findings import Line, first_line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False
PYTHON = (3, 11)
REQUIREMENTS = Path("requirements.lock")
PROGRAMS = {  #: distribution → the module that must import
    "snakemake": "snakemake.api",
    "snakemake-executor-plugin-slurm": "snakemake_executor_plugin_slurm",
    "framecast": "snakemake_executor_plugin_slurm_patient",
    "dvc": "dvc.repo",
}
MEND = "install again from requirements.lock (`make demo` and `make test` do)"


def python(_: Surroundings) -> Iterator[Line]:
    """Whether this Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        yield Line("problem", "Python", found, f"use {PYTHON[0]}.{PYTHON[1]} or newer: make PYTHON=python3.11")
    else:
        yield Line("ok", "Python", f"{found} ({sys.executable})")


def torch(_: Surroundings) -> Iterator[Line]:
    """Whether torch imports, and the devices that it finds."""
    installed = _distribution("torch", "torch")
    yield installed
    if installed.level == "problem":
        return
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            yield Line("ok", f"CUDA device {number}", f"{device.name}, {device.total_memory / 1e9:.0f} GB")
    elif shutil.which("nvidia-smi") is None:
        yield Line("ok", "CUDA", "no device on this machine; training here uses the CPU")
    elif torch.version.cuda is None:
        cure = "install the build of torch for CUDA, or train on the CPU"
        yield Line("warning", "CUDA", f"nvidia-smi is here, and this torch ({torch.__version__}) cannot use it", cure)
    else:
        yield Line("warning", "CUDA", "nvidia-smi is here, and torch finds no device", "see what `nvidia-smi` says")


def compiler(surroundings: Surroundings) -> Iterator[Line]:
    """Whether what ``params.yaml`` wants compiled can be; without such a wish nobody needs a compiler."""
    try:
        grid = surroundings.grid
    except UserError:
        return  # told by the check of params.yaml
    compiled = (cell.model for cell in grid.cells if grid.params.recipe(cell.model, cell.dataset).compile != "off")
    wishes = list(dict.fromkeys(compiled))
    if not wishes:
        return
    import torch

    from framecast.training.compilation import missing_compiler

    about = f"compile of {', '.join(wishes)}"
    if missing := missing_compiler("cuda" if torch.cuda.is_available() else "cpu"):
        yield Line("problem", about, missing, "install one, or write compile: off in params.yaml")
    else:
        yield Line("ok", about, "a compiler is here; a cluster's nodes need one as well")


def programs(_: Surroundings) -> Iterator[Line]:
    """Whether the engines import, in the locked versions."""
    for name, module in PROGRAMS.items():
        yield _distribution(name, module)


def _distribution(name: str, module: str) -> Line:
    """Whether a distribution imports, and has the version that ``requirements.lock`` names."""
    try:
        importlib.import_module(module)
        found = importlib.metadata.version(name)
    except Exception as error:  # a broken installation may raise anything
        return Line("problem", name, f"cannot be imported ({type(error).__name__}: {first_line(error)})", MEND)
    locked = _locked().get(name)
    if locked is None or locked == found.split("+")[0]:
        return Line("ok", name, f"{found}, as locked" if locked else found)
    return Line("warning", name, f"{found}, and {REQUIREMENTS} has {locked}; numbers may differ in last digits", MEND)


def _locked() -> dict[str, str]:
    """Distribution → version of ``requirements.lock``; empty where that is not here."""
    try:
        lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
