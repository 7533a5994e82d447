"""The field's words: none that only we would understand is left, and no file is long.

Who knows RFC 4787 and 8445 guesses from its name what a file holds. The words here were used once; each was a riddle.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "statecharts").glob("*.*"),
]
MOST_LINES = 350

RIDDLES = """
bout guesser inquiry inspector surveyor portrait neighbourhood keeper errand witness town deed rehearsal household pulse
storm weather survivor
"""
"""In no name and in no sentence."""
AS_NAMES = """
beat controlled dialling directory door house inspection living opener picture reaching requesting shaping stage
standing
"""
"""In no name of ours; in a sentence they are English."""
STAY = {
    "directory": ("network/", "cli/", "server/", "verify/"),  # of files
    "opener": ("crypto/", "dataplane/", "peer/probe_exchange.py"),  # of a seal
    "stage": ("verify/reachability/",),  # one NAT of several
    "storm": ("cli/simulate", "README.md", "docs/", "random_scenario.py"),  # --storm, make storm, and what seeds mean
    "survivor": ("cli/prove.py", "docs/proof.md"),
    "weather": ("cli/prove.py", "docs/proof.md"),  # keys of `prove --json`, which scripts know
}
"""Where such a word is known to users or has another sense."""


def words_of(text: str) -> Iterator[str]:
    """In small letters and the singular; `HardPunch`, `hard_punch` and `hard punches` are two words each."""
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text):
        yield re.sub(r"(?<=ch|ss)es$|(?<=[^s])s$", "", word.lower())


def names_in(source: Path) -> Iterator[str]:
    yield source.stem
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def found(file: Path, texts: Iterator[str], riddles: str) -> set[str]:
    place = file.relative_to(ROOT).as_posix()
    words = {word for text in texts for word in words_of(text)} & set(riddles.split())
    return {f"{place}: {word}" for word in words if not any(each in place for each in STAY.get(word, ()))}


def test_no_name_of_the_source_is_a_riddle() -> None:
    assert set().union(*(found(source, names_in(source), RIDDLES + AS_NAMES) for source in SOURCES)) == set()


def test_no_sentence_has_a_word_of_ours_alone() -> None:
    """Docstrings, comments, help, errors and pages."""
    texts = [*SOURCES, *PAGES]
    assert set().union(*(found(file, iter([file.read_text()]), RIDDLES) for file in texts)) == set()


def test_spelling_is_american() -> None:
    """As in the names of files and of the interface, `behavior` for one. A logged text that scripts may know stays."""
    british = re.compile(
        r"behaviour|learnt\b|licence|\bcentre|colour|honour|neighbour|favour|labelled|dialled|\bproven\b", re.I
    )
    texts = [*SOURCES, *PAGES]
    assert [f"{file.name}: {word}" for file in texts for word in british.findall(file.read_text())] == []


def test_hard_is_said_of_nats_and_not_of_punches() -> None:
    """What is done at hard NATs is called port prediction."""
    wrong = re.compile(r"hard[ _]?(punch|tactic)", re.I)
    assert [file.name for file in [*SOURCES, *PAGES] if wrong.search(file.read_text())] == []


def test_no_source_file_is_long() -> None:
    """One that is has two nouns in it."""
    lengths = {source.relative_to(ROOT).as_posix(): len(source.read_text().splitlines()) for source in SOURCES}
    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES} == {}
