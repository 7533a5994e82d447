"""What a node may be called, and what becomes of a host name."""

from __future__ import annotations

import pytest

from tunnel.model.errors import SettingsError
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


@pytest.mark.parametrize("name", ["10.86.9.9", "fd00::1", "a" * 26])
def test_a_name_that_reads_as_an_address_or_an_id_is_refused(name: str) -> None:
    """Else `ping 10.86.9.9` might mean a node that only calls itself so."""
    with pytest.raises(SettingsError, match="reads as an address or a node id"):
        check_node_settings(NodeSettings(name=name))
