"""Our own tunnel addresses: the IPv6 one that follows from our node id, and the IPv4 one that the server leases us."""

from __future__ import annotations

import ipaddress
import logging
import math

from tunnel.crypto.network_keys import tunnel_address6, tunnel_prefix6
from tunnel.model.endpoint import packed_host
from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.pools import is_pool
from tunnel.network.ports import Store

log = logging.getLogger(__name__)

LEASE_FILE = "lease"
MAX_SINCE = 1e12


def check_lease(address: str) -> str:
    """ADDRESS/PREFIX in its plain form. Raises MalformedFrame unless a tunnel may have that address."""
    try:
        interface = ipaddress.IPv4Interface(address)
    except ValueError:
        raise MalformedFrame("the server leased something that is not an IPv4 address") from None
    if not is_pool(interface.network):
        raise MalformedFrame(f"the server leased {interface}, which is in no private prefix of 8 to 30 bits")
    return str(interface)


class Lease:
    """The last lease, kept on disk so that a node that starts without its server has its address."""

    def __init__(self, store: Store, network: NetworkId, node: NodeId) -> None:
        self._store, self._network = store, network
        self._own6 = tunnel_address6(network, node)
        self._prefix6 = tunnel_prefix6(network).partition("/")[2]
        self.address, self.since = self._kept()
        self._is_withheld = False
        self._packed = self._pack()

    @property
    def leased_host(self) -> str:
        """The IPv4 address that the server leases us; empty while there is none."""
        return (self.address or "").partition("/")[0]

    @property
    def host(self) -> str:
        """The same; empty while the address is withheld."""
        return "" if self._is_withheld else self.leased_host

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our tunnel addresses: IPv6 always, IPv4 once leased, unless it clashes with something on this machine."""
        return (self.host, self._own6) if self.host else (self._own6,)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The same with their prefix lengths, as a TUN interface wants them."""
        own6 = f"{self._own6}/{self._prefix6}"
        return (self.address, own6) if self.address and not self._is_withheld else (own6,)

    def withhold(self, is_withheld: bool) -> None:
        """Stop using the IPv4 address, or use it again."""
        self._is_withheld = is_withheld
        self._packed = self._pack()

    def holds(self, packed: bytes) -> bool:
        """Whether this packed address (4 or 16 bytes) is one of ours. Called for each packet that comes in."""
        return packed in self._packed

    def take(self, address: str, since: float) -> None:
        """The server leases us this. `check_lease` has accepted it."""
        if (address, since) == (self.address, self.since):
            return
        self.address, self.since = address, since
        self._packed = self._pack()
        try:
            self._store.write(LEASE_FILE, f"{address} {since} {self._network}".encode())
        except DeviceError as error:
            log.warning("the lease is not kept for the next start error=%s", error)

    def _pack(self) -> frozenset[bytes]:
        return frozenset(packed_host(address) for address in self.addresses)

    def _kept(self) -> tuple[str | None, float]:
        """From the file. One that is damaged or of another network is ignored: the server knows the lease too."""
        match (self._store.read(LEASE_FILE) or b"").decode("ascii", "replace").split():
            case [address, since, *network] if network in ([], [str(self._network)]):  # older versions name none
                try:
                    kept = check_lease(address), float(since)
                except (MalformedFrame, ValueError):
                    return None, 0.0
                return kept if math.isfinite(kept[1]) and 0 <= kept[1] < MAX_SINCE else (None, 0.0)
        return None, 0.0


def unmet_wish(wanted: str | None, address: str | None, holder: str | None) -> str | None:
    """Why the lease (ADDRESS/PREFIX) is not the wanted address; None if it is. `holder` is the peer that has it."""
    if wanted is None or address is None:
        return None
    leased, wish = ipaddress.IPv4Interface(address), ipaddress.IPv4Address(wanted)
    if wish == leased.ip:
        return None
    pool = leased.network
    if wish not in pool:
        why = f"is not in {pool}, from which the server leases"
    elif wish in (pool.network_address, pool.broadcast_address):
        why = f"is the {'network' if wish == pool.network_address else 'broadcast'} address of {pool}"
    else:
        why = f"is {holder}'s" if holder else "is another node's"
    return f"--address {wanted} {why}: this node has {leased.ip}"
