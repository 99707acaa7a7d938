"""What moved between two commits, by the tables that git keeps: nothing is run, and nothing is checked out.

``sides`` reads the tables and what made them, ``changes`` says of every number what became of it and what counts as
noise, ``causes`` what of a cell's parameters and code is another; ``comparison`` is all three. ``show`` writes it for a
terminal, ``markdown`` for a pull request, with ``pictures``, ``machine`` as JSON.
"""

from pathlib import Path
from typing import Literal

from framecast.errors import UserError
from framecast.upkeep.diff import machine, markdown, show
from framecast.upkeep.diff.comparison import Diff, compare

__all__ = ["Diff", "Form", "compare", "written"]

AFFECTS_NUMBERS = False
Form = Literal["text", "markdown", "json"]


def written(found: Diff, form: Form, *, everything: bool = False, pictures: Path | None = None) -> str:
    """A comparison as text for a terminal, as Markdown for a pull request, or as JSON; it ends in a line break.

    ``pictures`` is a folder for those that the Markdown links. Raises UserError with any other form.
    """
    if pictures and form != "markdown":
        raise UserError("diff: found --pictures without --md; allowed: with it")
    if form == "json":
        return machine.written(found)
    return markdown.written(found, pictures) if form == "markdown" else show.written(found, everything=everything)
