"""The population as shares, read from a TOML file that gives the source of each number.

population_draw.py makes topologies of it. Neither knows of nodes or tactics.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from tunnel.model.toml_file import parse_toml, read_text
from tunnel.verify.simulation.scenarios.structure import Reader

FILE = "population.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How endpoints are connected to the internet; the rest of each share is the other kind."""

    fixed: float
    fixed_behind_carrier: float
    mobile_behind_carrier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """The share of each kind of NAT whose mapping depends on the remote."""

    home: float
    fixed_carrier: float
    mobile_carrier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filterings:
    """Of NATs with an endpoint-independent mapping; adds up to 1."""

    endpoint_independent: float
    address_dependent: float
    address_and_port_dependent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocations:
    """Of NATs with an endpoint-independent mapping; adds up to 1."""

    preserving: float
    sequential: float
    random: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DependentAllocations:
    """Of NATs with a dependent mapping; adds up to 1."""

    random: float
    block: float
    sequential: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Parameters of allocators; all values are equally likely."""

    block_sizes: tuple[int, ...]
    foreign_loads: tuple[float, ...]
    """Mappings a second, of a carrier's other subscribers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """Seconds; all values are equally likely."""

    home: tuple[float, ...]
    fixed_carrier: tuple[float, ...]
    mobile_carrier: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Shares of NATs, home routers and endpoints."""

    inbound_refresh: float
    hairpin: float
    upnp: float
    udp_blocked: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6:
    """The share of endpoints that have it, and of firewalls for it that let unsolicited packets in."""

    endpoints: float
    open: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds one way; all values are equally likely."""

    fixed: tuple[float, ...]
    mobile: tuple[float, ...]
    core: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The whole population."""

    access: Access
    dependent: Dependent
    filtering: Filterings
    allocation: Allocations
    dependent_allocation: DependentAllocations
    ports: Ports
    lifetimes: Lifetimes
    habits: Habits
    ipv6: Ipv6
    latency: Latency


def read_mix(file: Path) -> Mix:
    """Read a mix. Raises SettingsError naming file, line and key."""
    return parse_mix(read_text(file), file=str(file))


def parse_mix(text: str, *, file: str = FILE) -> Mix:
    """The content of such a file. Raises SettingsError naming file, line and key."""
    document = parse_toml(text, file)
    reader = Reader(file, text)
    mix = reader.read(Mix, document, ())
    for table in dataclasses.fields(mix):
        _check_table(reader, table.name, getattr(mix, table.name))
    return mix


_WHOLES = (Filterings, Allocations, DependentAllocations)


def _check_table(reader: Reader, name: str, table: object) -> None:
    values: dict[str, float | tuple[float, ...]] = {
        field.name: getattr(table, field.name)
        for field in dataclasses.fields(table)  # type: ignore[arg-type]
    }
    for key, value in values.items():
        if isinstance(value, tuple):
            if not value or min(value) <= 0:
                reader.fail((name, key), "a list of numbers above 0 is expected")
        elif value > 1.0:
            reader.fail((name, key), f"a share is 0 to 1, not {value!r}")
    if isinstance(table, _WHOLES) and not math.isclose(total := sum(dataclasses.astuple(table)), 1.0, abs_tol=1e-9):
        reader.fail((name,), f"the shares add up to {total:g}, not to 1")
