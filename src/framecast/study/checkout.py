"""Whose source runs: that of the checkout at hand, or nothing does.

An environment knows one copy of framecast. In a second clone, copy or worktree its programs would run the first one's
source: an edit would do nothing, and DVC would sign the edited source for numbers that it did not make.
"""

from pathlib import Path

from framecast.errors import UserError

AFFECTS_NUMBERS = False
SOURCE = Path("src/framecast")  #: of a checkout
RUNNING = Path(__file__).parents[1]


def expect_own_source(*places: Path) -> None:
    """Raise UserError where the checkout that one of these folders lies in is not the one whose source runs.

    A folder outside of every checkout (a ``params.yaml`` alone) is served by whatever is installed.
    """
    for place in places:
        root = _root(place)
        if root and not (root / SOURCE).samefile(RUNNING):
            raise UserError(
                f"{root}: found another copy's source, {RUNNING}; allowed: its own; "
                f"activate an environment that was made here, or set PYTHONPATH={root / SOURCE.parent}"
            )


def expect_root(place: Path) -> None:
    """Raise UserError in a subfolder of a checkout that holds no study of its own."""
    root = _root(place)
    if root and root != place and not (place / "params.yaml").exists():
        raise UserError(f"{place}: found no params.yaml; run framecast from the root of the repository, {root}")


def _root(place: Path) -> Path | None:
    """The nearest checkout around a folder."""
    return next((folder for folder in (place, *place.parents) if (folder / SOURCE / "cli.py").is_file()), None)
