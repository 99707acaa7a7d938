"""The house: imports run one way, and docs/architecture.md says what the code says."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.conftest import LONGEST, ROOT

PACKAGE = ROOT / "src" / "framecast"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", re.MULTILINE)
FLOORS = {room: (int(floor), told) for floor, room, told in ROW.findall(PAGE)}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, without ``framecast.`` before it."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a file imports anywhere in it, for types only included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("framecast."):
            base = str(node.module).removeprefix("framecast").lstrip(".")
            names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in known else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("framecast.") for alias in node.names if "framecast." in alias.name}
    return found - {""}


def arrows() -> dict[str, set[str]]:
    """Module → the modules that it imports."""
    known = modules()
    return {name: imported(path, set(known)) for name, path in known.items()}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_stands_on_a_floor_and_few_modules_lie_at_the_root() -> None:
    assert {room(name) for name in modules()} == set(FLOORS)
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def test_a_room_is_for_what_its_docstring_says() -> None:
    for name, (_, told) in FLOORS.items():
        docstring = ast.get_docstring(ast.parse(modules()[name].read_text(encoding="utf-8"))) or ""
        assert docstring.split("\n", 1)[0] == told, name


def test_imports_run_downwards() -> None:
    assert sum(map(len, arrows().values())) > 200
    up = [
        f"{above} imports {below}"
        for above, below in ((name, found) for name, all_found in arrows().items() for found in all_found)
        if room(above) != room(below) and FLOORS[room(above)][0] < FLOORS[room(below)][0]
    ]
    assert up == []


def test_no_imports_run_in_a_circle() -> None:
    rooms: dict[str, set[str]] = {name: set() for name in FLOORS}
    for name, found in arrows().items():
        rooms[room(name)] |= {room(one) for one in found} - {room(name)}
    for picture in (rooms, arrows()):
        try:
            TopologicalSorter(picture).prepare()
        except CycleError as error:
            raise AssertionError(" → ".join(error.args[1])) from None


def test_the_page_names_only_what_there_is() -> None:
    for path in re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml))`", PAGE):
        assert any((base / path).is_file() for base in (ROOT, PACKAGE)), path
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target


def test_the_files_that_are_begun_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
