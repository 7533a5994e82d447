"""The pages hang together: every link leads somewhere, every page is in the index, every word has one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "statecharts").glob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FOLDERS = (".", "src", "src/tunnel", "tests", "docs", "simulations")
HEADING = re.compile(r"^#+ (.+)$", re.M)


def links_of(page: Path) -> list[str]:
    return LINK.findall(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S))


def anchors_of(page: Path) -> set[str]:
    """As the common renderers make them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links_of(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize(
    ("index", "pages"),
    [
        (DOCS / "README.md", sorted(DOCS.glob("*.md"))),
        (DOCS / "design" / "README.md", sorted((DOCS / "design").glob("*.md"))),
    ],
    ids=["docs", "design"],
)
def test_every_page_is_in_its_index(index: Path, pages: list[Path]) -> None:
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links_of(index) if "://" not in link}
    assert [page.name for page in pages if page != index and page not in linked] == []


@pytest.mark.parametrize("page", sorted((DOCS / "design").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_a_decision_has_its_three_headings(page: Path) -> None:
    assert HEADING.findall(page.read_text())[1:] == ["The question", "What we found", "What we do"]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """Paths begin at the top, or in the folder of the source, the tests or the scenarios. NAME stands for any."""
    for file in re.findall(r"`([\w/]+/\w+\.(?:py|toml|md|scxml|json))\b", page.read_text()):
        assert "NAME" in file or "FILE" in file or any((ROOT / folder / file).exists() for folder in FOLDERS), file


def test_a_word_of_the_glossary_has_one_line_in_its_place() -> None:
    words = re.findall(r"^\| ([a-z][^|]*?) \|", (DOCS / "glossary.md").read_text(), re.M)
    plain = [re.sub(r" \(.*\)|,.*", "", word) for word in words]
    assert plain == sorted(set(plain))
    assert len(plain) > 60
