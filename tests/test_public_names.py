"""What `import tunnel` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tunnel
import tunnel.embedding


def test_every_public_name_is_there() -> None:
    assert {name: getattr(tunnel, name).__name__ for name in tunnel.__all__} == {name: name for name in tunnel.__all__}
    assert tunnel.open_node is tunnel.embedding.open_node


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="'tunnel' has no attribute 'opne_node'"):
        tunnel.opne_node  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    program = "import sys, tunnel; print(sorted({'trio', 'cryptography', 'statemachine'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
