"""What the coverage-guided fuzzer found worth keeping is run again each time, and so are a few random runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.fuzz.dataplane_target import Machine, run

SEEDS = [bytes.fromhex(line) for line in (Path(__file__).parent / "seeds.txt").read_text().split()]


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_kept_seed_breaks_nothing(seed: bytes) -> None:
    run(seed)


def test_random_bytes_break_nothing() -> None:
    chance = random.Random(1)
    for _ in range(300):
        run(chance.randbytes(chance.randrange(600)))


def test_the_seeds_reach_each_end_of_a_packet() -> None:
    """Else the fuzzer's program has become one that says nothing."""
    reached = set[str]()
    for seed in SEEDS:
        machine = Machine(seed)
        machine.run()
        inbound, tun = machine.inbound.counts, machine.plane.counts
        reached |= {name for name in ("malformed", "unknown_index", "not_authentic") if getattr(inbound, name)}
        reached |= {
            name
            for name in ("into", "forged_source", "foreign_destination", "malformed", "device_full")
            if getattr(tun, name)
        }
        reached |= {"dropped"} if machine.inbound.budget.dropped else set()
        reached |= {"other"} if machine.others else set()
        reached |= (
            {"control"} if any(told for life in machine.lives for told in life.told if _is_control(told)) else set()
        )
    assert reached == {
        "malformed",
        "unknown_index",
        "not_authentic",
        "into",
        "forged_source",
        "foreign_destination",
        "device_full",
        "dropped",
        "other",
        "control",
    }


def _is_control(told: object) -> bool:
    return not isinstance(told, str | tuple)
