"""The shell commands of the documentation, for the tests that run them.

A block of shell commands has the language ``sh``. A comment in front of it, ``<!-- not run: why -->``, takes it out.
"""

import re
from dataclasses import dataclass

from tests.conftest import ROOT

PAGES = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")))
FENCED = re.compile(r"^(?:<!-- not run: (.+) -->\n)?( *)```(.*)\n((?:.*\n)*?)\2```$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block, in what language, and why its commands are not run, where they are not."""

    language: str
    text: str
    why_not: str


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in its order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(language, text, why_not) for why_not, _, language, text in FENCED.findall(text)]


def scripts(page: str) -> list[str]:
    """The blocks of shell commands that a test runs."""
    return [block.text for block in blocks(page) if block.language == "sh" and not block.why_not]


def commands(page: str) -> list[str]:
    """The same line by line, for a page on which each command is one line."""
    return [line for script in scripts(page) for line in script.splitlines()]
