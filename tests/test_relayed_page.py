"""docs/howto-relayed.md has each reason of the program, its evidence and what helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tunnel.model.reasons import REMEDIES, ReasonCode

PAGE = (Path(__file__).parents[1] / "docs" / "howto-relayed.md").read_text()
SECTIONS = {part.partition("`")[0]: part for part in PAGE.split("\n### `")[1:]}


def test_the_page_has_each_reason_once_and_no_other() -> None:
    assert sorted(SECTIONS) == sorted(code.value for code in ReasonCode)
    assert len(re.findall(r"^### ", PAGE, re.M)) == len(ReasonCode)


@pytest.mark.parametrize("code", ReasonCode, ids=lambda code: code.value)
def test_a_reason_has_its_evidence_and_what_helps(code: ReasonCode) -> None:
    """In that order, and with every option that the program's own remedy names."""
    section = SECTIONS[code.value]
    meaning, evidence, remedy = re.split(r"\*\*Evidence:\*\*|\*\*What helps:\*\*", section)
    assert min(len(part.strip()) for part in (meaning, evidence, remedy)) > 3
    assert set(re.findall(r"--[a-z-]+", REMEDIES[code])) <= set(re.findall(r"--[a-z-]+", section))


def test_the_short_table_names_no_reason_that_does_not_exist() -> None:
    table = PAGE.partition("## In short")[2].partition("##")[0]
    assert set(re.findall(r"`(\w+)`", table)) <= set(SECTIONS)
