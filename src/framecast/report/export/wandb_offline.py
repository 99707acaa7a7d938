"""Runs for Weights & Biases, written by its own package in offline mode: ``wandb sync`` uploads them, when you say so.

The file of an offline run has no written specification, so the package itself writes it; it starts a process of its own
for that, which is told to look at neither network, machine, git nor console, and ends with the export.
"""

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from PIL import Image

from framecast.errors import UserError
from framecast.report.export.extras import extra
from framecast.report.export.outputs import new_folder
from framecast.report.export.runs import Run, read

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

PROJECT = "framecast"
STEPS = {"training": "step", "horizon": "forecast_step"}  #: what each kind of curve is drawn over
QUIET = {
    **{"mode": "offline", "console": "off", "silent": True, "disable_git": True, "disable_code": True},
    **{
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "host": "",
    },
}


def write(grid: "Grid", cells: "Sequence[Cell]", folder: Path) -> None:
    """A folder ``offline-run-<time>-<key>`` for each cell: settings, curves, scores as its summary, pictures."""
    with _package() as wandb, new_folder(folder) as partial:
        for cell in cells:
            _write_run(wandb, read(grid, cell), partial.resolve())
        _tidy(partial)


@contextmanager
def _package() -> Iterator[ModuleType]:
    """The package without what its user has set for runs that are tracked as they happen, and its process ended."""
    told = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("WANDB_")}
    with TemporaryDirectory() as folder:
        # It would ask a network on import, and leave logs in the user's home.
        own = {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": folder, "WANDB_CONFIG_DIR": folder}
        os.environ.update(own)
        try:
            wandb = extra("wandb", "wandb-offline")
            try:
                yield wandb
            finally:
                wandb.teardown()
        finally:
            for name in own:
                os.environ.pop(name, None)
            os.environ.update(told)


def _quiet(wandb: ModuleType) -> Any:
    try:
        return wandb.Settings(**QUIET)
    except ValueError:  # a setting that it does not know
        raise UserError(
            f"export wandb-offline: wandb {wandb.__version__} is not one that this was written for; "
            "run `pip install --upgrade wandb`"
        ) from None


def _write_run(wandb: ModuleType, run: Run, folder: Path) -> None:
    cell = run.cell
    made = wandb.init(
        project=PROJECT,
        dir=str(folder),
        id=run.key,
        name=cell.name,
        group=run.system,
        tags=[cell.dataset, cell.model],
        job_type="baseline" if cell.is_baseline else "cell",
        config=_nested(run.settings),
        settings=_quiet(wandb),
    )
    for name, step in STEPS.items():
        made.define_metric(step, hidden=True)
        for curve in getattr(run, name):
            made.define_metric(curve, step_metric=step)
        for point in _points(getattr(run, name), step):
            made.log(point)
    if run.pictures:
        made.log({name: _image(wandb, png) for name, png in run.pictures.items()})
    made.summary.update(run.overall)
    made.finish()


def _points(curves: dict[str, list[tuple[int, float]]], step: str) -> list[dict[str, float]]:
    """The same numbers by step: what is known at each."""
    found: dict[int, dict[str, float]] = {}
    for name, curve in curves.items():
        for at, value in curve:
            found.setdefault(at, {step: at})[name] = value
    return [found[at] for at in sorted(found)]


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as a tree."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *above, last = name.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def _image(wandb: ModuleType, png: bytes) -> Any:
    with Image.open(io.BytesIO(png)) as picture:
        return wandb.Image(picture)


def _tidy(folder: Path) -> None:
    """Runs directly in the folder, without logs and links of the package's that name places of this machine."""
    for run in sorted((folder / "wandb").glob("offline-run-*")):
        shutil.rmtree(run / "logs", ignore_errors=True)
        shutil.rmtree(run / "tmp", ignore_errors=True)
        run.rename(folder / run.name)
    shutil.rmtree(folder / "wandb")
