"""A file under its name is whole, whoever else writes it at that time, and what the system refuses is told of it."""

import errno
import os
from pathlib import Path

import pytest

from framecast.artifacts import replacing


def test_two_writers_of_one_number_do_not_write_into_each_other(tmp_path: Path) -> None:
    """In two containers that share a folder processes have small numbers, and the same ones."""
    path = tmp_path / "model.safetensors"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        assert str(os.getpid()) in first.name
        first.write_bytes(b"one")
        second.write_bytes(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that is read-only refuses to remove even what is not there."""
    path = tmp_path / "scores.csv"

    def refused(partial: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(partial))

    for name in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, refused)
    with pytest.raises(OSError, match="Read-only file system") as found, replacing(path) as partial:
        partial.write_bytes(b"half")
    assert found.value.filename == str(path)


def test_a_block_that_fails_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    here = tmp_path / "processed"
    here.mkdir()
    with pytest.raises(UnicodeEncodeError), replacing(here / "kth" / "key" / "manifest.json") as partial:
        partial.write_text("a file that is open, and half a letter: \ud83d", encoding="utf-8")
    assert list(tmp_path.rglob("*")) == [here]
