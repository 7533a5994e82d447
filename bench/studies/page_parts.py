"""Generated parts of a page that people write: each stands between `<!-- NAME begin -->` and `<!-- NAME end -->`."""

from __future__ import annotations

from tunnel.model.errors import SettingsError


def replace_part(page: str, name: str, text: str) -> str:
    """The page with another text between the markers of a part. Raises SettingsError if it has no such part."""
    begin, end = f"<!-- {name} begin -->", f"<!-- {name} end -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SettingsError(f"the page has no part {name!r}: write {begin} and {end} where it belongs")
    return f"{before}{begin}\n{text}\n{end}{after}"
