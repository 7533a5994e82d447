"""A program for the lab's hosts that runs one part of ours: `host_tool.py WORD ARGUMENT...` prints one JSON value.

    map PORT SECONDS        ask the UPnP gateway for a mapping of this UDP port: ENDPOINT
    unmap PORT              take it back
    hold PROTOCOL PORT SEC [FAMILY]  keep a mapping by this protocol alone (pcp, nat-pmp, upnp), in ipv4 or ipv6: a line
                            at each change, until stdin ends; then give it back
    exchange ENDPOINT HEX.. send datagrams one by one: what comes back for each, as HEX
    survey SERVER...        what our survey says, asking these STUN servers alone
    classic SERVER SOURCE   what pystun3 calls our NAT, asking this STUN server
    ask SERVER CHANGE       one binding request with this CHANGE-REQUEST: what the answer says
    receive ADDRESS         take one TCP stream; prints its port first, then how long it was and its digest
    send ENDPOINT SIZE      send this many random bytes: their digest

What one of our errors ends is {"error": its class, "text": what it says, "seconds": how long that took}.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint, parse_endpoint
from tunnel.model.errors import DeviceError, TunnelError
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.timings import DEFAULT_TIMINGS, Timings
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.nat.gateways.race import PortClients
from tunnel.nat.gateways.upnp import UpnpClient
from tunnel.nat.rfc3489_class import classify_rfc3489
from tunnel.nat.survey import Survey
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.memory_store import MemoryStore
from tunnel.network.no_port_mapper import NoPortMapper
from tunnel.network.os.datagrams import RealDatagrams
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.port_mapper import RealPortMapper
from tunnel.network.os.resolver import RealResolver
from tunnel.node.port_mapping_states import PortMappingStates
from tunnel.wire.stun import Change, binding_request, decode_stun, encode_stun

CHUNK = 1 << 16
PATIENCE = 30.0
UNSPECIFIED = Endpoint("0.0.0.0", 0)


async def map_port(port: str, lease: str) -> Any:
    return str((await RealPortMapper(RealInterfaces()).map_port(int(port), float(lease))).external)


async def unmap_port(port: str) -> Any:
    await RealPortMapper(RealInterfaces()).unmap_port(int(port))


async def hold(protocol: str, port: str, lease: str, family: str = "ipv4") -> Any:
    """Looks at the gateway every two seconds."""
    timings = replace(DEFAULT_TIMINGS, port_lease=float(lease), port_watch=2.0, port_watch_silent=1.0)
    spoken = PortProtocol(protocol)
    clients = PortClients(
        PcpClient(RealDatagrams() if spoken is PortProtocol.PCP else Deaf(), os.urandom(12), timings.port_waits),
        NatPmpClient(RealDatagrams() if spoken is PortProtocol.NAT_PMP else Deaf(), timings.port_waits),
        UpnpClient(RealPortMapper(RealInterfaces()) if spoken is PortProtocol.UPNP else NoPortMapper(), MemoryStore()),
    )

    class News(Notifier):
        def notify(self) -> None:
            status = mapping.status()
            told = {
                "state": status.state,
                "external": status.external and str(status.external),
                "left": status.seconds_left,
            }
            print(json.dumps(told | {"protocol": status.protocol and status.protocol.value}), flush=True)

    mapping = PortMappingStates(
        RealInterfaces(), clients, port=int(port), is_ipv6=family == "ipv6", timings=timings, news=News()
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mapping.run)
        await trio.to_thread.run_sync(sys.stdin.buffer.read)
        await mapping.leave()
    return "left"


class Deaf:
    """Opens no socket: this protocol is not spoken here."""

    async def open_socket(self, local: Endpoint) -> DatagramSocket:
        raise DeviceError(f"no socket at {local}")


async def exchange(endpoint: str, *datagrams: str) -> Any:
    """Without patience for a lost packet: on a lab's links none is."""
    socket = await RealDatagrams().open_socket(UNSPECIFIED)
    answers = []
    with trio.fail_after(PATIENCE):
        for datagram in datagrams:
            socket.send_nowait(bytes.fromhex(datagram), parse_endpoint(endpoint))
            [(answer, _)] = await socket.receive_batch()
            answers.append(answer.hex())
    return answers


async def survey(*servers: str) -> Any:
    socket = await RealDatagrams().open_socket(UNSPECIFIED)
    own = [Endpoint(host, socket.local.port) for host in RealInterfaces().addresses()]
    survey = Survey([socket], RealResolver(), own=own, servers=servers, timings=Timings(), token=os.urandom)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed, survey, socket)
        result = await survey.run()
        nursery.cancel_scope.cancel()
    return {
        "mapping": result.report.mapping.value,
        "allocation": result.report.allocation.value,
        "reflexive": [str(endpoint) for endpoint in result.reflexive],
        "local": socket.local.port,
        "answers": len(result.answers),
        "evidence": result.evidence,
    }


async def feed(survey: Survey, socket: DatagramSocket) -> None:
    while True:
        for datagram, remote in await socket.receive_batch():
            survey.receive_untrusted(socket, datagram, remote)


async def classic(server: str, source: str) -> Any:
    opinion = await classify_rfc3489(RealDatagrams(), parse_endpoint(server), source=source)
    return opinion.classic or opinion.note


async def ask(server: str, change: str) -> Any:
    """Without patience for a lost packet: on a lab's links none is."""
    socket = await RealDatagrams().open_socket(UNSPECIFIED)
    request = binding_request(os.urandom(12), change=Change(int(change)))
    socket.send_nowait(encode_stun(request), parse_endpoint(server))
    with trio.fail_after(PATIENCE):
        [(datagram, remote)] = await socket.receive_batch()
    answer = decode_stun(datagram)
    assert answer.transaction == request.transaction
    said = {"from": remote, "observed": answer.observed, "origin": answer.origin, "other": answer.other}
    return {name: endpoint and str(endpoint) for name, endpoint in said.items()} | {"local": socket.local.port}


async def receive(address: str) -> Any:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        listener.settimeout(PATIENCE)
        print(listener.getsockname()[1], flush=True)
        stream, _ = listener.accept()
    digest, length = hashlib.sha256(), 0
    with stream:
        stream.settimeout(PATIENCE)
        while chunk := stream.recv(CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return [length, digest.hexdigest()]


async def send(endpoint: str, size: str) -> Any:
    content = random.Random(size).randbytes(int(size))
    with socket.create_connection(parse_endpoint(endpoint), PATIENCE) as stream:
        stream.sendall(content)
    return hashlib.sha256(content).hexdigest()


WORDS: dict[str, Callable[..., Awaitable[Any]]] = {
    "map": map_port,
    "unmap": unmap_port,
    "hold": hold,
    "exchange": exchange,
    "survey": survey,
    "classic": classic,
    "ask": ask,
    "receive": receive,
    "send": send,
}


async def main(*command: str) -> None:
    word, *arguments = command
    began = time.monotonic()
    try:
        result = await WORDS[word](*arguments)
    except TunnelError as error:
        seconds = round(time.monotonic() - began, 3)
        result = {"error": type(error).__name__, "text": str(error), "seconds": seconds}
    print(json.dumps(result))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
