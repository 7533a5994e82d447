"""Checks actions and expectations against the topology: names, words, moments and sizes that could not be meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import NoReturn

from tunnel.machines.diagrams import CHARTS
from tunnel.model.announcement import MAX_NAME
from tunnel.model.nat import Allocation
from tunnel.model.nat import Mapping as NatMapping
from tunnel.model.nat import Udp as SeenUdp
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.reasons import ReasonCode
from tunnel.model.toml_file import shown
from tunnel.model.way import PathKind
from tunnel.verify.memory.inner_udp import MOST_BYTES, MOST_SEGMENTS
from tunnel.verify.reachability.topology import SERVER, Lie, Nat, Router, Udp
from tunnel.verify.simulation.scenarios.action import (
    LEAST_SIZE,
    Action,
    ChangeLine,
    Clone,
    Connect,
    Cut,
    FillDisk,
    Flush,
    Freeze,
    Install,
    JumpClock,
    Kill,
    Lift,
    LoseNames,
    MapPort,
    Mislead,
    Overlay,
    Plug,
    Reboot,
    Renumber,
    Roam,
    Send,
    Shut,
    Sleep,
    Start,
    Stop,
    Unplug,
)
from tunnel.verify.simulation.scenarios.addresses import vet_address, vet_addresses
from tunnel.verify.simulation.scenarios.expectation import (
    Expectation,
    ExpectNode,
    ExpectPeer,
    ExpectSignals,
    ExpectTraffic,
    Moment,
)
from tunnel.verify.simulation.scenarios.structure import Reader, meant
from tunnel.verify.simulation.scenarios.toml_lines import Path
from tunnel.wire.session_packets import MAX_APPLICATION_DATAGRAM
from tunnel.wire.signals import TAGS

ABSENT = "none"
MOST_SIZE = MAX_APPLICATION_DATAGRAM
LEAST_GAP = 0.001


def _states_of(chart: str) -> tuple[str, ...]:
    return tuple(str(state.id) for state in CHARTS[chart].states)


WORDS: dict[str, tuple[str, ...]] = {
    "state": _states_of("peer_connection"),
    "path": (*(kind.value for kind in PathKind), ABSENT),
    "reason": (*(code.value for code in ReasonCode), ABSENT),
    "server": _states_of("server_link"),
    "announcement": _states_of("announcement"),
    "mapping": tuple(mapping.value for mapping in NatMapping),
    "udp": tuple(udp.value for udp in SeenUdp),
    "port_mapping": (*(protocol.value for protocol in PortProtocol), ABSENT),
}
"""The words of an expectation: any of these, or several with spaces between."""


def vet_name(reader: Reader, name: str, path: Path) -> None:
    """Check the name of a host, router, server or network by the program's own rules."""
    if not 0 < len(name.encode()) <= MAX_NAME or not name.isprintable() or name != name.strip():
        reader.fail(path, f"a name has 1 to {MAX_NAME} bytes, all printable, and no space around it")


def vet_nat(reader: Reader, nat: Nat, path: Path) -> None:
    """Check that a NAT is fully described, and that its port range is not empty."""
    for key in ("mapping", "filtering", "allocation"):
        if getattr(nat, key).value in ("unknown", "none"):
            reader.fail((*path, key), "a NAT of a topology is a known one")
    room = nat.block_size if nat.allocation is Allocation.BLOCK else 1
    if nat.first_port + room > nat.last_port + 1:
        reader.fail(path, f"no room from first_port {nat.first_port} to last_port {nat.last_port}")


class Vetting:
    """Checks one file. Every fault raises SettingsError, as in its reader.

    `with_tun` are the hosts that have a TUN interface, and whether it has offloads.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        hosts: Collection[str],
        with_tun: Mapping[str, bool],
        routers: Mapping[str, Router],
        others: Collection[str],
        length: float,
    ) -> None:
        self._reader = reader
        self._hosts = hosts
        self._with_tun = with_tun
        self._routers = routers
        self._places = (*hosts, *routers, *others)
        self._programs = (*hosts, SERVER)
        self._length = length

    def vet_action(self, action: Action, path: Path) -> None:
        """Check an action: its names exist, its moment is within the run, its values are possible."""
        if not action.at < self._length:
            self._fail(path, "at", f"{action.at:g} is after the end, which is at {self._length:g}")
        match action:
            case Start(who=who) | Stop(who=who) | Kill(who=who) | Freeze(who=who):
                self._is_in(self._programs, who, path, "who")
            case Send():
                self._vet_send(action, path)
            case Connect(who=who, to=to):
                self._are_two(who, to, path, "who", "to")
            case Cut(one=one, other=other) | Lift(one=one, other=other):
                self._is_in(self._places, one, path, "one")
                self._is_in(self._places, other, path, "other")
            case Reboot(router=router) | Renumber(router=router) | Shut(router=router) | Mislead(router=router):
                self._is_in(self._routers, router, path, "router")
            case Roam(host=host, behind=behind):
                self._is_in(self._hosts, host, path, "host")
                if behind is not None:
                    self._is_in(self._routers, behind, path, "behind")
            case JumpClock(host=host) | FillDisk(host=host):
                self._is_in(self._programs, host, path, "host")
            case Unplug(host=host) | Plug(host=host) | Sleep(host=host) | LoseNames(host=host) | MapPort(host=host):
                self._is_in(self._hosts, host, path, "host")
            case Install(host=host):
                self._is_in(self._hosts, host, path, "host")
            case Clone(host=host, of=of):
                self._is_in(self._hosts, host, path, "host")
                self._is_in(self._hosts, of, path, "of")
            case Flush(host=host):
                self._has_tun(host, path, "host")
            case Overlay():
                self._vet_overlay(action, path)
            case ChangeLine(of=of):
                self._is_in(self._places, of, path, "of")
            case _:
                raise NotImplementedError(f"nothing here says what a {type(action).__name__} may be")
        match action:
            case Shut(udp=udp):
                self._is_in([each.value for each in Udp], udp, path, "udp")
            case Mislead(lie=lie):
                self._is_in([each.value for each in Lie], lie, path, "lie")
            case Renumber(address=address):
                vet_address(self._reader, address, (*path, "address"), version=4)
            case Roam(addresses=addresses, behind=behind):
                above = None if behind is None else self._routers[behind]
                vet_addresses(self._reader, addresses, above, (*path, "addresses"))
            case _:
                pass

    def vet_expectation(self, expectation: Expectation, path: Path) -> None:
        """Check an expectation: its names and words exist, its moment is within the run, and it can fail."""
        match expectation:
            case ExpectPeer() | ExpectNode():
                self._vet_moment(expectation, path)
                self._is_in(self._hosts, expectation.node, path, "node")
                if isinstance(expectation, ExpectPeer):
                    self._are_two(expectation.node, expectation.peer, path, "node", "peer")
                self._vet_words(expectation, path)
            case ExpectTraffic(who=who, to=to):
                self._are_two(who, to, path, "who", "to")
                self._asks_for(expectation, path, "who", "to", "after", "before")
                self._vet_interval(expectation.after, expectation.before, path)
            case ExpectSignals(host=host, signal=signal, at_least=least, at_most=most, after=after, before=before):
                self._is_in(self._programs, host, path, "host")
                self._is_in(list(TAGS), signal, path, "signal")
                if not least and most is None:
                    self._reader.fail(path, "nothing is expected: name at_least or at_most")
                self._vet_interval(after, before, path)

    def _vet_interval(self, after: float, before: float | None, path: Path) -> None:
        if after > self._length or (before is not None and before <= after):
            end = self._length if before is None else before
            self._fail(path, "after", f"{after:g} is not before {end:g}")

    def _are_two(self, one: str, other: str, path: Path, key: str, other_key: str) -> None:
        """Check that two names are different hosts."""
        self._is_in(self._hosts, one, path, key)
        self._is_in(self._hosts, other, path, other_key)
        if one == other:
            self._fail(path, other_key, f"{shown(other)} is {key} as well")

    def _vet_overlay(self, action: Overlay, path: Path) -> None:
        self._are_two(action.one, action.other, path, "one", "other")
        if action.latency is None:
            self._has_tun(action.one, path, "one")
            self._has_tun(action.other, path, "other")
        if len(set(action.addresses)) != 2:
            self._fail(path, "addresses", "two addresses are expected, one for each host")
        for address in action.addresses:
            vet_address(self._reader, address, (*path, "addresses"), version=4)

    def _has_tun(self, host: str, path: Path, key: str) -> None:
        self._is_in(self._hosts, host, path, key)
        if host not in self._with_tun:
            self._fail(path, key, f"{shown(host)} has no TUN interface: give it one with tun = NAME")

    def _vet_send(self, action: Send, path: Path) -> None:
        self._are_two(action.who, action.to, path, "who", "to")
        if not LEAST_SIZE <= action.size <= MOST_SIZE:
            self._fail(path, "size", f"{action.size} is not between {LEAST_SIZE} and {MOST_SIZE} bytes")
        if action.ip is not None:
            self._is_in(("4", "6"), str(action.ip), path, "ip")
            self._has_tun(action.who, path, "who")
            self._has_tun(action.to, path, "to")
        if action.superpacket:
            self._vet_superpacket(action, path)
        if action.every < LEAST_GAP:
            self._fail(path, "every", f"{action.every:g} is less than {LEAST_GAP:g} s")
        if action.until <= action.at:
            self._fail(path, "until", f"{action.until:g} is not after {action.at:g}: it is a moment, not a length")
        if action.until > self._length:
            self._fail(path, "until", f"{action.until:g} is after the end, which is at {self._length:g}")

    def _vet_superpacket(self, action: Send, path: Path) -> None:
        if action.ip is None or not self._with_tun[action.who]:
            why = "goes by an interface: name ip" if action.ip is None else f"needs offloads = true at {action.who}"
            self._fail(path, "superpacket", f"it {why}")
        if not 2 <= action.burst <= MOST_SEGMENTS or action.burst * action.size > MOST_BYTES:
            self._fail(path, "burst", f"a superpacket has 2 to {MOST_SEGMENTS} datagrams, {MOST_BYTES} bytes in all")

    def _vet_moment(self, moment: Moment, path: Path) -> None:
        kinds = (moment.by is not None, moment.at is not None, moment.since is not None or moment.until is not None)
        if sum(kinds) != 1:
            self._reader.fail(path, "name one moment: by, at, or since and until")
        for key in ("by", "at", "since", "after"):
            when = getattr(moment, key)
            if when is not None and when > self._length:
                self._fail(path, key, f"{when:g} is after the end, which is at {self._length:g}")
        if moment.by is not None and moment.by < moment.after:
            self._fail(path, "after", f"{moment.after:g} is after by = {moment.by:g}")
        until, since = moment.until, moment.since or 0.0
        if until is not None and not since < until <= self._length:
            self._fail(path, "until", f"{until:g} is not between {since:g} and the end, which is at {self._length:g}")

    def _vet_words(self, expectation: ExpectPeer | ExpectNode, path: Path) -> None:
        self._asks_for(expectation, path, "node", "peer", "by", "at", "since", "until", "after")
        for key, known in WORDS.items():
            said = getattr(expectation, key, None)
            if said is not None and not said.split():
                self._fail(path, key, "a word is expected")
            for word in (said or "").split():
                self._is_in(known, word, path, key)

    def _asks_for(self, expectation: Expectation, path: Path, *names: str) -> None:
        """Check that something is expected beside these keys."""
        asked = [field.name for field in fields(expectation) if field.name not in names]
        if all(getattr(expectation, key) is None for key in asked):
            self._reader.fail(path, f"nothing is expected: name one of {', '.join(asked)}")

    def _is_in(self, known: Collection[str], name: str, path: Path, key: str) -> None:
        if name not in known:
            few = ", ".join(list(known)[:12]) + (" ..." if len(known) > 12 else "")
            self._fail(path, key, f"{shown(name)} is none of {few}{meant(name, known)}")

    def _fail(self, path: Path, key: str, text: str) -> NoReturn:
        self._reader.fail((*path, key), text)
