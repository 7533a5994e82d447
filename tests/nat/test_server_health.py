"""The records of STUN servers: which are unresponsive, which are cleared, and that an outage blames nobody."""

from __future__ import annotations

from tunnel.nat.server_health import UNRESPONSIVE_AFTER, ServerHealth, ServerRecords

ASKED = ("a.test:3478", "b.test:3478", "c.test:3478")


def after(*surveys: dict[str, float], unresolved: tuple[str, ...] = ()) -> ServerRecords:
    """One survey each ten seconds."""
    records = ServerRecords()
    for number, heard in enumerate(surveys):
        records.note(ASKED, heard, unresolved, 10.0 * number)
    return records


def test_who_is_silent_while_others_answer_becomes_unresponsive() -> None:
    assert after(*[{"a.test:3478": 0.02}] * (UNRESPONSIVE_AFTER - 1)).unresponsive() == frozenset()
    assert after(*[{"a.test:3478": 0.02}] * UNRESPONSIVE_AFTER).unresponsive() == {"b.test:3478", "c.test:3478"}


def test_one_answer_clears() -> None:
    found = after(*[{"a.test:3478": 0.02}] * 5, {"a.test:3478": 0.02, "b.test:3478": 0.05})
    assert found.unresponsive() == {"c.test:3478"}


def test_where_nobody_answers_nobody_is_blamed() -> None:
    """A cable that was pulled must not make every server look dead."""
    assert after(*[{}] * 50).unresponsive() == frozenset()


def test_health_says_when_and_how_fast() -> None:
    records = after({"a.test:3478": 0.02}, {"b.test:3478": 0.03}, unresolved=("c.test:3478",))
    assert records.health(25.0) == (
        ServerHealth("a.test:3478", 25.0, 0.02, silences=1),
        ServerHealth("b.test:3478", 15.0, 0.03, silences=0),
        ServerHealth("c.test:3478", None, None, silences=2, is_resolved=False),
    )


def test_servers_that_are_not_asked_any_more_are_forgotten() -> None:
    records = after(*[{"a.test:3478": 0.02}] * 5)
    records.note(ASKED[:1], {"a.test:3478": 0.02}, (), 60.0)
    assert [health.server for health in records.health(60.0)] == [ASKED[0]]
    assert records.unresponsive() == frozenset()


def test_silent_is_who_did_not_answer_the_last_survey_that_others_answered() -> None:
    """Whoever was never asked, or was last asked when nobody answered, may have just fallen silent."""
    assert after({"a.test:3478": 0.02}, {"b.test:3478": 0.03}).is_silent("a.test:3478")
    assert not after({"a.test:3478": 0.02}, {}).is_silent("a.test:3478")
    assert not after({"a.test:3478": 0.02}).is_silent("d.test:3478")
