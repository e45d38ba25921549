"""The documents are true to the code where that can be checked: links, names of tests, columns, settings, messages."""

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from syncfs.control.settings import SETTINGS
from syncfs.index.schema import migrate

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
STARTED: Final = DOCS / "guide" / "getting-started.md"
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_TEST: Final = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SCRIPT: Final = re.compile(r"`(scripts/[\w-]+)")
_LAYERS: Final = "|".join(path.parent.name for path in sorted((ROOT / "syncfs").glob("*/__init__.py")))
_MODULE: Final = re.compile(rf"`(?:syncfs/)?((?:{_LAYERS})/\w+\.py)")


def pages() -> list[Path]:
    """All documents that people read."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("README.md")])


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """The links of a page that lead into the project: as written, where to, and the heading after a hash."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in _LINK.findall(text):
        if "://" not in link and not link.startswith("mailto:"):
            path, _, heading = link.partition("#")
            yield link, (page.parent / path).resolve() if path else page, heading


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def texts_of_the_code() -> str:
    """All literal text in the modules of syncfs, joined where the source breaks it."""
    found: list[str] = []
    for path in sorted((ROOT / "syncfs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.JoinedStr(values=values):
                    parts = [str(part.value) if isinstance(part, ast.Constant) else "\0" for part in values]
                    found.append("".join(parts))
                case ast.Constant(value=str(text)):
                    found.append(text)
    return "\n".join(found)


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in pages():
        for link, target, heading in links(page):
            if not target.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            elif heading and slug(heading) not in {slug(each) for each in _HEADING.findall(target.read_text())}:
                broken.append(f"{page.relative_to(ROOT)}: {link} (no such heading)")
    assert not broken, "\n" + "\n".join(broken)


def test_every_page_is_linked() -> None:
    """From another page; a page of decisions belongs into docs/decisions/README.md."""
    reached = {target for page in pages() for _, target, _ in links(page) if target != page}
    alone = [str(page.relative_to(ROOT)) for page in DOCS.rglob("*") if page.is_file() and page not in reached]
    assert not alone, f"no page links to {', '.join(alone)}"


def test_decisions_are_numbered_once_and_listed_by_their_titles() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text()
    numbers = [path.name[:4] for path in sorted((DOCS / "decisions").glob("[0-9]*.md"))]
    assert len(numbers) == len(set(numbers)), "two decisions have one number"
    for path in (DOCS / "decisions").glob("[0-9]*.md"):
        title = re.sub(r"^# (\d+\. )?", "", path.read_text().splitlines()[0])
        assert f"- [{path.name[:4]}]({path.name}) {title}\n" in listed, path.name


def test_what_pages_name_exists() -> None:
    """Modules, tests and scripts."""
    missing = []
    for page in pages():
        text = page.read_text()
        for path, name in _TEST.findall(text):
            source = (ROOT / path).read_text() if (ROOT / path).exists() else ""
            if not source or (name and not re.search(rf"^\s*(async )?def {name}\(", source, re.MULTILINE)):
                missing.append(f"{page.relative_to(ROOT)}: {path}::{name}")
        missing += [f"{page.relative_to(ROOT)}: {path}" for path in _SCRIPT.findall(text) if not (ROOT / path).exists()]
    assert not missing, "\n" + "\n".join(missing)


def test_the_guide_names_every_setting() -> None:
    for setting in SETTINGS:
        assert re.search(rf"^\| `{setting.key}` \|", STARTED.read_text(), re.MULTILINE), setting.key


def test_the_guide_explains_reasons_that_the_code_gives() -> None:
    table = STARTED.read_text().partition("| reason | what it means")[2].partition("\n\n")[0]
    reasons = re.findall(r"^\| ([^|]+) \|", table.partition("|---")[2], re.MULTILINE)
    assert len(reasons) >= 10
    said = texts_of_the_code()
    parts = {part.strip() for reason in reasons for part in re.split(r"…|, (?=cannot)|\(…\)", reason)}
    unsaid = {part for part in parts if len(part) > 3 and part.removeprefix("refused: ") not in said}
    assert not unsaid, f"nothing in the code says {unsaid}"


def test_the_page_on_the_index_names_every_table_and_column() -> None:
    text = (DOCS / "formats" / "index.md").read_text()
    sections = dict(re.findall(r"^\*\*(\w+)\*\*(.*?)(?=^\*\*|^## |\Z)", text, re.MULTILINE | re.DOTALL))
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    tables = {name for name in names if not name.startswith(("sqlite_", "_sqlite_"))}
    assert set(sections) == tables
    for table in tables:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        rows = re.findall(r"^\| ([\w, ]+) \|", sections[table], re.MULTILINE)
        told = {column for row in rows for column in row.split(", ")} - {"column"}
        assert told == columns, table
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    assert f"`PRAGMA user_version` is {version}." in text
    connection.close()
