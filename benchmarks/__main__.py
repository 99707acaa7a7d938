"""``python -m benchmarks [names…] [--json FILE]``: run the measurements and print one table."""

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.base import Row


def main() -> None:
    """Run each module of this folder that has ``rows()``, in alphabetical order."""
    available = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in ("base", "__main__")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of: {', '.join(available)} (default: all that are short)"
    )
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(available)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(available)}")

    table = Table("measurement", "ours", "reference", "figure", "goal", "", title="framecast benchmarks")
    rows: list[Row] = []
    console = Console()
    for name in arguments.names or available:
        module = importlib.import_module(f"benchmarks.{name}")
        if getattr(module, "ON_REQUEST", False) and not arguments.names:
            continue
        console.print(f"[dim]measuring {name} …[/dim]")
        for row in module.rows():
            rows.append(row)
            mark = {True: "[green]met[/green]", False: "[red]not met[/red]", None: ""}[row.meets]
            table.add_row(row.name, row.ours, row.reference, f"{row.figure:.3g} {row.unit}", row.goal, mark)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
