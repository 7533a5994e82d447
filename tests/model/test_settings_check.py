"""What a node may be called, and what becomes of a host name."""

from __future__ import annotations

import pytest

from tunnel.model.settings import NodeSettings
from tunnel.model.settings_check import check_node_settings, fit_name


@pytest.mark.parametrize(
    ("host_name", "name"),
    [
        ("desk.example.org", "desk.example.org"),
        ("x" * 64, "x" * 63),
        ("desk\udcff\x1b", "desk--"),
        (" desk ", "desk"),
        ("", "node"),
        ("10.0.0.7", "node-10.0.0.7"),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_any_host_name_becomes_a_name(host_name: str, name: str) -> None:
    """Linux takes 64 bytes of any kind, and nobody chose --name."""
    assert fit_name(host_name) == name
    check_node_settings(NodeSettings(name=name))
