"""stripped-extras.py PINS...: whether a pin lacks an extra that an installed package requires. Ends with 1 if so.

Run it with the Python of an environment that holds the pinned packages: their metadata says what they require.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^]]*)\])?==", re.MULTILINE)


def extras_asked_for() -> dict[str, dict[str, str]]:
    """By package: each extra that is required of it, and by whom. What extras of others require does not count."""
    asked: dict[str, dict[str, str]] = {}
    for distribution in distributions():
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                for extra in requirement.extras:
                    asked.setdefault(canonicalize_name(requirement.name), {})[extra] = distribution.name
    return asked


def stripped_extras(pins: str, asked: dict[str, dict[str, str]]) -> list[str]:
    """A line for each extra that is required and that its pin lacks."""
    lines = []
    for name, kept in _PIN.findall(pins):
        extras = {extra.strip() for extra in kept.split(",")}
        for extra, who in asked.get(canonicalize_name(name), {}).items():
            if extra not in extras:
                lines.append(f"{name} is pinned without [{extra}], which {who} asks for: make pins keeps it")
    return lines


def main() -> int:
    """Print what is missing."""
    asked = extras_asked_for()
    missing = [f"{path}: {line}" for path in sys.argv[1:] for line in stripped_extras(Path(path).read_text(), asked)]
    print("\n".join(missing) or "check-pins: every pin keeps its extras")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
