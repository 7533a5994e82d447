from __future__ import annotations

import pytest
from bench.studies.page_parts import replace_part

from tunnel.model.errors import SettingsError


def test_a_part_is_replaced_and_nothing_else() -> None:
    page = "# a\n<!-- x begin -->\nold\n<!-- x end -->\nb\n"
    again = replace_part(page, "x", "new")
    assert again == "# a\n<!-- x begin -->\nnew\n<!-- x end -->\nb\n"
    assert replace_part(again, "x", "new") == again


def test_a_page_without_the_part_is_refused() -> None:
    with pytest.raises(SettingsError, match="no part 'x'"):
        replace_part("<!-- y begin --><!-- y end -->", "x", "new")
