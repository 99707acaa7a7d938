"""What a source file says of itself is the same whether it is found anew or kept, and is never what it was before."""

import os
from pathlib import Path

import pytest

from framecast.study import catalogue, source

TEXT = '''
"""A docstring."""
from framecast.ranges import PositiveInt
from . import base
FRAMES = "video"
ROWS = (({"source": "official"}, ("kth",)), (None, ...))
SEEN: dict = dict()
Action = Literal["run", "walk"]
Pair = tuple[int, int]


class Small(base.Forecaster):
    unit = "dB"

    def __init__(self, frame_shape, *, depth: PositiveInt, width: "int" = 8, scale: float = -1.5):
        import framecast.losses.mse
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(TEXT)
    return path


def kept(module: Path) -> Path:
    [path] = module.parent.glob("__pycache__/*.facts")
    return path


def test_what_is_kept_is_what_is_found_for_every_module_of_ours() -> None:
    for path in sorted(catalogue.PACKAGE.rglob("*.py")):
        assert source.read(path) == source.read(path) == source.of(path.read_text(encoding="utf-8"))


def test_it_says_what_the_file_says(module: Path) -> None:
    found = source.read(module)
    assert found == source.read(module)
    values = {name: source.value_of(literal) for name, literal in found.constants.items()}
    assert values == {"FRAMES": "video", "ROWS": (({"source": "official"}, ("kth",)), (None, ...))}
    assert (found.computed, found.entry) == (["SEEN", "Action", "Pair"], "Small")
    assert found.types == {"Action": "Literal['run', 'walk']"}
    assert found.arguments == {"depth": ["PositiveInt", "..."], "width": ["'int'", "8"], "scale": ["float", "-1.5"]}
    assert found.classes["Small"] == source.ClassFacts(["base.Forecaster"], {"unit": "dB"}, ["__init__"])
    assert sorted(found.imports) == [
        [-1, "", ["framecast.losses.mse"]],
        [0, "framecast.ranges", ["PositiveInt"]],
        [1, "", ["base"]],
    ]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None, b"[]", b"{}"])
def test_what_is_kept_holds_for_these_bytes_only(module: Path, damage: bytes | None) -> None:
    before, times = source.read(module), os.stat(module)
    if damage is None:
        kept(module).write_bytes(kept(module).read_bytes()[:-20])
    else:
        kept(module).write_bytes(damage)
    assert source.read(module) == before
    module.write_text(TEXT.replace("= 8", "= 9"))  # as long as before, and as old
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = source.read(module)
    assert after.arguments is not None
    assert after.arguments["width"] == ["'int'", "9"]
    assert after.hash != before.hash


def test_nothing_is_written_where_nothing_may_be(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert source.read(module).entry == "Small"
    assert list(module.parent.iterdir()) == [module]
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (module.parent / "__pycache__").write_text("no folder")
    assert source.read(module).entry == "Small"
