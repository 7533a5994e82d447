"""The durations fit together: what waits for something waits longer than that something takes."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tunnel.model.timings import DEFAULT_TIMINGS as T
from tunnel.model.timings import rung

ZERO_IS_NOW = {"interface_restores", "punch_ladder"}
"""Where a zero means that the first comes at once."""


@pytest.mark.parametrize("name", [field.name for field in fields(T)])
def test_no_duration_is_zero(name: str) -> None:
    """A timer of no length fires for ever, or is refused by its clock when nobody expects it."""
    value = getattr(T, name)
    values = value if isinstance(value, tuple) else (value,)
    assert values
    assert all(each > 0 for each in (values[1:] if name in ZERO_IS_NOW else values))


@pytest.mark.parametrize("name", [field.name for field in fields(T) if isinstance(getattr(T, field.name), tuple)])
def test_a_ladder_rises(name: str) -> None:
    ladder = getattr(T, name)
    assert list(ladder) == sorted(set(ladder))


def test_a_survey_ends_long_before_the_server_gives_an_introduction_up() -> None:
    """Else the server would wait in vain for announcements that wait for a survey."""
    assert T.survey_cap < T.introduction_wait / 2


def test_the_server_answers_before_the_node_stops_waiting() -> None:
    assert T.introduction_wait < T.request_patience


def test_who_is_kept_alive_is_never_taken_for_dead() -> None:
    """A keepalive as long as the patience with silence would end healthy links at random."""
    assert 2 * (T.server_ping + T.server_ping_patience) <= T.silence_patience
    assert 2 * T.relay_heartbeat < T.relay_trust
    assert 3 * T.heartbeat < T.path_trust
    assert T.heartbeat < T.path_in_use


def test_a_path_is_doubted_then_given_up_then_buried() -> None:
    assert T.path_suspect < T.heartbeat < T.path_trust < T.path_burial


def test_new_keys_are_agreed_long_before_the_old_ones_end() -> None:
    """Several attempts fit between, also where the first ones are lost."""
    assert T.rekey_after + sum(T.handshake_retries) + T.handshake_slow_retry < T.key_life


def test_the_last_rung_holds_for_ever() -> None:
    assert [rung((1.0, 2.0), step) for step in range(4)] == [1.0, 2.0, 2.0, 2.0]
