"""Whoever meets another version is told which one, and where to update: where the version is older."""

from __future__ import annotations

import pytest

from tunnel.model.protocol_version import PROTOCOL_VERSION, mismatch_evidence, refusal_evidence, server_note


@pytest.mark.parametrize(
    ("theirs", "evidence"),
    [
        (1, "laptop speaks version 1, this node 2: update p2ptunnel-trio there"),
        (3, "laptop speaks version 3, this node 2: update p2ptunnel-trio here"),
    ],
)
def test_a_peer_of_another_version_is_named_with_the_older_machine(theirs: int, evidence: str) -> None:
    assert mismatch_evidence("laptop", theirs) == evidence


def test_the_server_tells_both_askers_the_same_machine() -> None:
    assert refusal_evidence(2, 1).endswith("the peer speaks version 2, this node 1: update p2ptunnel-trio here")
    assert refusal_evidence(1, 2).endswith("the peer speaks version 1, this node 2: update p2ptunnel-trio there")


@pytest.mark.parametrize(("theirs", "where"), [(1, "on the server"), (3, "here")])
def test_a_server_of_another_version_serves_and_is_noted(theirs: int, where: str) -> None:
    told = f"the server is of version {theirs}, this node of version 2: it serves this node, but update p2ptunnel-trio"
    assert server_note(theirs) == f"{told} {where}"


def test_a_server_of_our_version_needs_no_note() -> None:
    assert server_note(PROTOCOL_VERSION) == ""
