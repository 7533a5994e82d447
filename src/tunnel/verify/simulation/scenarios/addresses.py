"""Checks the addresses of a scenario: each is possible, and none has two owners at any moment."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.toml_file import shown
from tunnel.verify.reachability.topology import SERVER, Router, Topology
from tunnel.verify.simulation.internet.router import INNER6
from tunnel.verify.simulation.scenarios.action import Action, Plug, Renumber, Roam, Sleep, Unplug
from tunnel.verify.simulation.scenarios.structure import Reader
from tunnel.verify.simulation.scenarios.toml_lines import Path


def vet_address(reader: Reader, address: str, path: Path, *, version: int | None = None) -> None:
    """Check that a machine may have this address: in its usual form, and of this IP version if one is given."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        reader.fail(path, f"{shown(address)} is no IP address")
    if version is not None and found.version != version:
        reader.fail(path, f"{shown(address)} is no IPv{version} address")
    if found.is_multicast or found.is_unspecified or found.is_loopback or (found.version == 4 and found.is_reserved):
        reader.fail(path, f"{shown(address)} is no address that a machine could have")
    if str(found) != address or "%" in address:
        reader.fail(path, f"write {shown(address)} as {str(found).partition('%')[0]}")


def vet_addresses(reader: Reader, addresses: Sequence[str], router: Router | None, path: Path) -> None:
    """Check the addresses of a host behind this router: at least one; IPv4 ones are of its LAN if it translates."""
    if not addresses:
        reader.fail(path, "at least one address is expected")
    for address in addresses:
        vet_address(reader, address, path)
        if router is not None and router.nat is not None and ":" not in address:
            lan = router.inner.rpartition(".")[0]
            if address.rpartition(".")[0] != lan:
                reader.fail(path, f"{address} is not of its router's LAN, which is {lan}.0/24")


def vet_owners(reader: Reader, topology: Topology, actions: Sequence[Action]) -> None:
    """Check that no address is given away twice, in the topology or by an action at its moment."""
    owners = _AddressOwners(reader, topology)
    for _, path, act in sorted(_moves(owners, actions), key=lambda move: move[0]):
        owners.path = path
        act()


def _moves(owners: _AddressOwners, actions: Sequence[Action]) -> Iterator[tuple[float, Path, Callable[[], None]]]:
    for at, action in enumerate(actions):
        path = ("do", at)
        match action:
            case Renumber(at=when, router=router, address=address):
                yield when, (*path, "address"), partial(owners.renumber, router, address)
            case Roam(at=when, host=host, behind=behind, addresses=addresses):
                yield when, (*path, "addresses"), partial(owners.roam, host, behind, addresses)
            case Unplug(at=when, host=host):
                yield when, path, partial(owners.unplug, host)
            case Plug(at=when, host=host):
                yield when, path, partial(owners.plug, host)
            case Sleep(at=when, host=host, seconds=seconds):
                yield when, path, partial(owners.unplug, host)
                yield when + seconds, path, partial(owners.plug, host)
            case _:
                pass


class _AddressOwners:
    """The owner of each address in each network, as in the simulated network. `path` is what is being checked."""

    def __init__(self, reader: Reader, topology: Topology) -> None:
        self._reader = reader
        self._routers: Mapping[str, Router] = topology.routers
        self._outer = {name: router.address for name, router in topology.routers.items()}
        self._owners: dict[str | None, dict[str, str]] = {None: {}}
        self._hosts: dict[str, tuple[str | None, tuple[str, ...]]] = {}
        self._unplugged: dict[str, None] = {}
        for name, router in topology.routers.items():
            self._owners[name] = {}
            self.path: Path = ("routers", name, "inner")
            self._attach(name, router.inner, name)
            self._attach(name, INNER6, name)
            self.path = ("routers", name, "address")
            self._attach(router.behind, router.address, name)
        self.path = ("server", "stun")
        for address in topology.server.addresses:
            self._attach(None, address, SERVER)
        for stun in topology.stun_servers:
            self.path = ("stun_servers", stun.name, "address")
            self._attach(None, stun.address, stun.name)
        for name, host in topology.hosts.items():
            self.path = ("hosts", name, "addresses")
            self._hosts[name] = (host.behind, ())
            self._swap(name, host.behind, host.addresses)

    def renumber(self, router: str, address: str) -> None:
        behind = self._routers[router].behind
        self._detach(behind, self._outer[router])
        self._attach(behind, address, router)
        self._outer[router] = address

    def roam(self, host: str, behind: str | None, addresses: tuple[str, ...]) -> None:
        if host not in self._unplugged:
            self._leave(host)
        self._unplugged.pop(host, None)
        self._swap(host, behind, addresses)

    def unplug(self, host: str) -> None:
        if host not in self._unplugged:
            self._leave(host)
            self._unplugged[host] = None

    def plug(self, host: str) -> None:
        if host in self._unplugged:
            del self._unplugged[host]
            self._swap(host, *self._hosts[host])

    def _leave(self, host: str) -> None:
        behind, addresses = self._hosts[host]
        for address in addresses:
            self._detach(behind, address)

    def _swap(self, host: str, behind: str | None, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            self._attach(behind, address, host)
        self._hosts[host] = (behind, addresses)

    def _attach(self, network: str | None, address: str, owner: str) -> None:
        owners = self._owners[network]
        if address in owners:
            self._reader.fail(self.path, f"the network is impossible: {address} belongs to {owners[address]}")
        owners[address] = owner
        if network is not None and self._holds_outside(network, address):
            self._attach(self._routers[network].behind, address, network)

    def _detach(self, network: str | None, address: str) -> None:
        del self._owners[network][address]
        if network is not None and self._holds_outside(network, address):
            self._detach(self._routers[network].behind, address)

    def _holds_outside(self, network: str, address: str) -> bool:
        """Whether an inner address is valid outside too: global IPv6, or any if the router does not translate."""
        router = self._routers[network]
        if ":" in address:
            return scope_of(address) is Scope.GLOBAL
        return address != router.inner and router.nat is None
