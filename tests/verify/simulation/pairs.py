"""Scenario files of a desk and a laptop, written as short as they can be."""

from __future__ import annotations

from tunnel.verify.simulation.scenarios.scenario import Scenario
from tunnel.verify.simulation.scenarios.scenario_file import parse_scenario
from tunnel.verify.simulation.scenarios.scenario_text import toml_text

PAIR = """title = "a pair"
length = {length}

[routers.home]

[routers.office]

[hosts.desk]
behind = "home"

[hosts.laptop]
behind = "office"
"""
TALK = """
[[do]]
at = 1.0
do = "send"
who = "desk"
to = "laptop"
until = 3.0
"""


def pair_text(*blocks: str, length: float = 5.0) -> str:
    """A file: two home routers, and these blocks behind."""
    return "\n".join((PAIR.format(length=float(length)), *blocks))


def pair(*blocks: str, length: float = 5.0) -> Scenario:
    """The same, read."""
    return parse_scenario(pair_text(*blocks, length=length), name="pair")


def pair_with_tun(*blocks: str, nat: str = "port_restricted", length: float = 5.0) -> Scenario:
    """The same with a TUN interface on both hosts, behind such NATs."""
    text = pair_text(*blocks, length=length)
    for host in ("home", "office"):
        text = text.replace(f'behind = "{host}"\n', f'behind = "{host}"\ntun = "p2pt0"\n')
        text = text.replace(f"[routers.{host}]\n", f'[routers.{host}]\nnat = "{nat}"\n')
    return parse_scenario(text, name="pair")


def do(at: float, word: str, **values: object) -> str:
    """One action."""
    return _block("[[do]]", {"at": at, "do": word, **values})


def expect(**values: object) -> str:
    """One expectation."""
    return _block("[[expect]]", values)


def _block(header: str, values: dict[str, object]) -> str:
    return "\n".join((header, *(f"{key} = {toml_text(value)}" for key, value in values.items()), ""))
