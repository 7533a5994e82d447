"""Traffic of programs behind tunnel interfaces: UDP in IP packets, many at one moment, or as one superpacket."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import partial

import trio

from tunnel.embedding import Node
from tunnel.model.errors import MalformedFrame
from tunnel.verify.memory.devices import MemoryDevice
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.inner_udp import InnerFlow, decode_frame, encode_frame, encode_packet
from tunnel.verify.simulation.runs.traffic import Traffic

FIRST_PORT = 20_000
"""The first host of a scenario has this port inside the tunnel, the second one the next."""


class InterfaceTraffic:
    """Sends and receives for all hosts. `nodes` are those that run now, `traffic` what was sent from whom to whom."""

    def __init__(
        self,
        hosts: Mapping[str, MemoryHost],
        names: Sequence[str],
        nodes: Mapping[str, Node],
        traffic: Mapping[tuple[str, str], Traffic],
    ) -> None:
        self._hosts = hosts
        self._nodes = nodes
        self._traffic = traffic
        self._names = {FIRST_PORT + at: name for at, name in enumerate(names)}
        self._ports = {name: port for port, name in self._names.items()}
        for name in names:
            hosts[name].devices.takers.append(partial(self._take, name))

    def send(self, traffic: Traffic, ip: int, payloads: Sequence[bytes], *, superpacket: bool) -> None:
        """Send by the interface, in IP packets of this version. Without an interface, or without a peer, all is lost.

        An interface with offloads gets packets with partial checksums.
        """
        device, flow = self._device_of(traffic.who), self._flow(traffic, ip)
        if device is None or flow is None:
            return
        if superpacket:
            device.inject(encode_frame(flow, payloads))
        else:
            for payload in payloads:
                device.inject(encode_frame(flow, (payload,)) if device.offloads else encode_packet(flow, payload))

    def _take(self, host: str, frame: bytes) -> bool:
        """Take a frame that came out of the tunnel at a host. False: it is not of this traffic."""
        try:
            datagrams = decode_frame(frame)
        except MalformedFrame:
            return False
        flow = datagrams[0].flow
        traffic = self._traffic.get((self._names.get(flow.source_port, ""), host))
        if traffic is None or self._names.get(flow.destination_port) != host:
            return False
        now = trio.current_time()
        for datagram in datagrams:
            traffic.note_arrival(datagram.payload, now)
        return True

    def _flow(self, traffic: Traffic, ip: int) -> InnerFlow | None:
        source, destination = (self._address_of(name, ip) for name in (traffic.who, traffic.to))
        if source is None or destination is None:
            return None
        return InnerFlow(source, destination, self._ports[traffic.who], self._ports[traffic.to])

    def _address_of(self, name: str, ip: int) -> bytes | None:
        """The address of a host inside the tunnel, packed, while its node runs."""
        node = self._nodes.get(name)
        addresses = map(ipaddress.ip_address, () if node is None else node.program.addresses)
        return next((address.packed for address in addresses if address.version == ip), None)

    def _device_of(self, name: str) -> MemoryDevice | None:
        return next(iter(self._hosts[name].devices.open.values()), None)
