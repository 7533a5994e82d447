from __future__ import annotations

import re
from pathlib import Path

import pytest
from bench.studies.population_mix import FILE, parse_mix, read_mix

from tunnel.model.errors import SettingsError
from tunnel.verify.simulation.scenarios.library import simulations_folder

TEXT = (simulations_folder() / FILE).read_text()


def test_the_frozen_mix_is_what_it_was() -> None:
    """Whoever changes a number here changes what every published share means."""
    mix = read_mix(simulations_folder() / FILE)
    assert (mix.access.fixed, mix.access.fixed_behind_carrier, mix.access.mobile_behind_carrier) == (0.70, 0.17, 0.92)
    assert (mix.dependent.home, mix.dependent.fixed_carrier, mix.dependent.mobile_carrier) == (0.02, 0.11, 0.40)
    assert mix.filtering.address_and_port_dependent == 0.80
    assert (mix.habits.udp_blocked, mix.habits.upnp, mix.ipv6.endpoints) == (0.04, 0.35, 0.50)


def test_every_number_has_its_source() -> None:
    for line in TEXT.splitlines():
        name, equals, rest = line.partition(" = ")
        if equals and name not in ("address_dependent", "sequential", "random", "block"):  # told on the line above
            assert re.search(r"# .*(\[[A-Z]\w+\]|assumed|RFC|statistics)", rest), line


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("hairpin = 0.30", "hairpinn = 0.30", "habits.hairpinn: unknown key: did you mean 'hairpin'?"),
        ("hairpin = 0.30", "", "habits: 'hairpin' is missing"),
        ("hairpin = 0.30", "hairpin = 1.30", "habits.hairpin: a share is 0 to 1, not 1.3"),
        ("hairpin = 0.30", "hairpin = -0.3", "habits.hairpin: -0.3 is not between 0 and 1e9"),
        ("hairpin = 0.30", 'hairpin = "often"', "habits.hairpin: a number is expected, not 'often'"),
        ("preserving = 0.55", "preserving = 0.65", "allocation: the shares add up to 1.1, not to 1"),
        ("block_sizes = [512, 1024, 2048, 4096]", "block_sizes = []", "ports.block_sizes: a list of numbers above 0"),
        ("fixed = [0.002,", "fixed = [0.0,", "latency.fixed: a list of numbers above 0 is expected"),
        ("[latency]", "[latencies]", "latencies: unknown key: did you mean 'latency'?"),
        ("[latency]", "[latency", "not TOML"),
    ],
)
def test_a_fault_is_named_with_its_file_and_key(old: str, new: str, complaint: str) -> None:
    assert old in TEXT
    with pytest.raises(SettingsError, match=rf"^mix\.toml:.*{re.escape(complaint)}"):
        parse_mix(TEXT.replace(old, new), file="mix.toml")


def test_a_fault_is_named_with_its_line() -> None:
    line = TEXT.splitlines().index(next(line for line in TEXT.splitlines() if line.startswith("hairpin"))) + 1
    with pytest.raises(SettingsError, match=rf"^mix\.toml:{line}: "):
        parse_mix(TEXT.replace("hairpin = 0.30", "hairpin = 3.0"), file="mix.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
        read_mix(tmp_path / "none.toml")
