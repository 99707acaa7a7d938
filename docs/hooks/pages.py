"""What the site has and docs/ has not: the README as its first page, reference, and files that pages link to.

Nothing of it is written down twice: each build reads it anew. Links out of docs/ work in the repository as they stand;
here they are turned to where their target stands on the site. One to nothing is a warning, by ``strict`` an error.
"""

import logging
import re
from collections.abc import Callable, Iterator
from os.path import relpath
from pathlib import Path
from typing import Any

import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.pages")
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHOWN = {"index.md": ROOT / "README.md", "changes.md": ROOT / "CHANGELOG.md"}  #: page → the file that is that page
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml", ".toml": "toml"}
TABLES = (".csv", ".json")  #: the files of a folder that its page offers


def on_config(config: MkDocsConfig) -> None:
    """Let an entry of the navigation like ``decisions/*.md`` stand for every such page."""
    config.nav = _every_page(config.nav)


def _every_page(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_every_page(one) for one in entry]
    if isinstance(entry, dict):
        return {title: _every_page(one) for title, one in entry.items()}
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob(entry)) if "*" in entry else entry


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie nowhere in docs/, first those that the navigation names."""
    texts = {page: path.read_text(encoding="utf-8") for page, path in SHOWN.items()}
    for page, text in {**texts, **reference.pages()}.items():
        files.append(File.generated(config, page, content=text))
    written = [page for page in files.documentation_pages() if _is_written(page.src_uri)]
    for target in sorted({target for page in written for target in _targets(page.src_uri, page.content_string)}):
        if _is_ours(target) and _place(target) not in files.src_uris:
            _show(target, files, config)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to what lies outside docs/ to where it stands on the site."""
    here = page.file.src_uri

    def turned(link: re.Match[str]) -> str:
        target = _target(here, link[1])
        if not _is_ours(target) and not target.is_relative_to(DOCS):  # of pages MkDocs says it
            log.warning("%s: link to %s, which is not there", here, link[1])
        return relpath(_place(target), Path(here).parent)

    return _outside_of_blocks(markdown, lambda line: LINK.sub(turned, line)) if _is_written(here) else markdown


def _is_ours(target: Path) -> bool:
    return target.is_relative_to(ROOT) and target.exists()


def _is_written(page: str) -> bool:
    """Whether somebody wrote this page, with links from where it lies; pages made here link within the site."""
    return not page.startswith(("reference/", "repository/"))


def _outside_of_blocks(markdown: str, change: Callable[[str], str]) -> str:
    """Change every line but those of blocks of code."""
    inside, lines = False, []
    for line in markdown.splitlines():
        inside ^= line.lstrip().startswith("```")
        lines.append(line if inside else change(line))
    return "\n".join(lines)


def _targets(page: str, markdown: str) -> Iterator[Path]:
    """The files and folders that a page links to."""
    return (_target(page, link) for link in LINK.findall(markdown))


def _target(page: str, link: str) -> Path:
    return (SHOWN.get(page, DOCS / page).parent / link).resolve()


def _place(target: Path) -> str:
    """Where a file or folder of the repository stands on the site."""
    if target.is_relative_to(DOCS):
        page = next(iter(sorted(target.glob("*.md")))) if target.is_dir() else target
        return page.relative_to(DOCS).as_posix()
    special = {path: page for page, path in SHOWN.items()} | {ROOT / "params.yaml": reference.PARAMETERS}
    path = Path(relpath(target, ROOT)).as_posix()
    return special.get(target, f"repository/{path}/index.md" if target.is_dir() else f"repository/{path}.md")


def _show(target: Path, files: Files, config: MkDocsConfig) -> None:
    """Make a page of a file or a folder of the repository."""
    path = target.relative_to(ROOT).as_posix()
    tables = sorted(found for found in target.glob("*") if found.suffix in TABLES)
    for table in tables:
        place = f"repository/{table.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, place, abs_src_path=str(table)))
    listed = "\n".join(f"- [{table.name}]({table.name}), {table.stat().st_size / 1000:.0f} kB" for table in tables)
    text = listed if target.is_dir() else reference.block(target, LANGUAGES.get(target.suffix, "text"))
    page = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n{text}\n"
    files.append(File.generated(config, _place(target), content=page, inclusion=InclusionLevel.NOT_IN_NAV))
