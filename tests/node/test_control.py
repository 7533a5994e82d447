"""The control socket as a conversation: lines in, lines out, and nothing that a line can break."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import (
    DeviceError,
    PeerUnreachable,
    Refused,
    ServerUnreachable,
    SettingsError,
    TunnelError,
    Unreachable,
)
from tunnel.model.invite import Invite
from tunnel.model.nat import Allocation, Mapping, NatReport, Udp
from tunnel.model.port_mapping import PortMappingStatus, PortProtocol
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.status import Move, NodeStatus, PathStatus, PeerStatus, ServerStatus
from tunnel.model.way import PathKind
from tunnel.nat.behavior_discovery import BehaviorReport
from tunnel.nat.captive_portal import CaptivePortal
from tunnel.nat.classification import StunAnswer
from tunnel.nat.filtering import Heard
from tunnel.nat.ipv6 import Ipv6Report
from tunnel.nat.netcheck_report import NetcheckReport
from tunnel.nat.rfc3489_class import Rfc3489Verdict
from tunnel.nat.server_health import ServerHealth
from tunnel.nat.survey import SurveyResult
from tunnel.network.ports import Sighting
from tunnel.node.control import MAX_CONNECTIONS, MAX_LINE, serve_control
from tunnel.node.control_client import ask, open_control
from tunnel.node.control_lines import Lines
from tunnel.node.peer_signals import Forgotten
from tunnel.wire.invites import decode_invite

SOCKET = Path("/run/test/control.sock")
REACHED = {"url": "wss://192.0.2.1:8443", "state": "registered", "rtt_ms": 20.0, "reason": None, "remedy": None}
PATH = PathStatus(PathKind.DIRECT, Endpoint("192.0.2.7", 4242), 0.0125, 1400, 1500)


def peer_status(state: str = "connected") -> PeerStatus:
    """A peer called laptop."""
    return PeerStatus(
        id="laptopid",
        name="laptop",
        addresses=("10.86.0.2",),
        state=state,
        path=PATH,
        reason=Reason(ReasonCode.UDP_BLOCKED, "eleven servers asked, none answered"),
        since=100.0,
        tx_bytes=1,
        rx_bytes=2,
        history=(Move(100.0, "punching", "path_verified", "connected"),),
    )


@dataclass
class Change:
    peer: PeerStatus
    move: Move


@dataclass
class Echo:
    rtt: float
    path: PathStatus | None
    id: str = "ffff"


class Laptop:
    def status(self) -> PeerStatus:
        return peer_status()


@dataclass
class FakeNode:
    """A node that says what it was told to say."""

    trouble: Exception | None = None
    watchers: int = 0
    changes: list[trio.MemorySendChannel[Change]] = field(default_factory=list)

    @property
    def invite(self) -> Invite:
        secret = bytes(32)
        network = derive_network_keys("home", secret)
        return Invite("wss://192.0.2.1:8443", None, "home", network.network_id, secret)

    def status(self) -> NodeStatus:
        server = ServerStatus("wss://192.0.2.1:8443", "registered", 0.02)
        return NodeStatus("deskid", "desk", ("10.86.0.1",), NatReport(), "acknowledged", server, (peer_status(),))

    def peer(self, name: str) -> Laptop:
        if self.trouble is not None:
            raise self.trouble
        if name != "laptop":
            raise PeerUnreachable(f"no peer is called {name!r}")
        return Laptop()

    async def watch(self) -> AsyncIterator[Change]:
        send, receive = trio.open_memory_channel[Change](0)
        self.changes.append(send)
        self.watchers += 1
        try:
            async with receive:
                async for change in receive:
                    yield change
        finally:
            self.watchers -= 1

    def forget(self, wanted: str) -> Forgotten:
        self.peer(wanted)
        return Forgotten("laptopid", ("laptop",), is_gone=False)

    async def ping(self, name: str) -> Echo:
        await trio.lowlevel.checkpoint()
        self.peer(name)
        return Echo(0.0125, PATH)

    async def netcheck(self) -> NetcheckReport:
        await trio.lowlevel.checkpoint()
        mapped = Endpoint("198.51.100.4", 40000)
        report = NatReport(
            mapping=Mapping.ENDPOINT_INDEPENDENT,
            udp=Udp.OPEN,
            allocation=Allocation.SEQUENTIAL,
            step=2,
            load=12.5,
            lifetime=58.0,
        )
        answer = StunAnswer("stun.example.org:3478", Endpoint("198.51.100.1", 3478), mapped, 0.02)
        return NetcheckReport(
            SurveyResult(report, (mapped,), (answer,), ("stun.test:3478",)),
            Rfc3489Verdict("Full Cone"),
            behavior_report=BehaviorReport(both=Heard.NO, port=Heard.YES),
            ipv6=Ipv6Report(has_address=True, is_reached=False),
            captive_portal=CaptivePortal.NO,
            port_mappings=(
                PortMappingStatus("ipv4", "mapped", PortProtocol.PCP, "192.168.1.1", mapped, 7199.6),
                PortMappingStatus("ipv6", "unsupported", note="no gateway on the default route"),
            ),
            servers=(
                ServerHealth("a.test:3478", 1.234, 0.02),
                ServerHealth("b.test:3478", silences=4, is_resolved=False),
            ),
            keepalive=29.0,
            took=3.34,
            server=ServerStatus("wss://192.0.2.1:8443", "registered", 0.02),
            external=Endpoint("25.1.0.1", 4242),
        )


class Socket:
    """Listener and controls in one: what connects at one end comes out at the other."""

    def __init__(self) -> None:
        self._arrive, self._arrivals = trio.open_memory_channel[trio.abc.Stream](1000)

    @property
    def local(self) -> Endpoint:
        return Endpoint("127.0.0.1", 1)

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        return await self._arrivals.receive(), self.local

    async def aclose(self) -> None:
        await self._arrivals.aclose()

    async def open_listener(self, path: Path) -> Socket:
        raise DeviceError(f"{path} is taken")

    def sightings(self) -> tuple[Sighting, ...]:
        return ()

    async def open_stream(self, path: Path) -> trio.abc.Stream:
        if path != SOCKET:
            raise Unreachable("no such file")
        ours, theirs = trio.testing.memory_stream_pair()
        await self._arrive.send(theirs)
        return ours


@asynccontextmanager
async def served(node: FakeNode, end: Callable[[], None] | None = None) -> AsyncIterator[Socket]:
    """A node that answers at a socket."""
    socket = Socket()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, socket, node, end=end))
        yield socket
        nursery.cancel_scope.cancel()


class Raw:
    """A client that may send anything."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._lines = Lines(stream, 1 << 20)

    async def say(self, content: bytes) -> None:
        await self.stream.send_all(content)

    async def hear(self) -> dict[str, Any]:
        line = await self._lines.receive_untrusted()
        assert line is not None
        answer: dict[str, Any] = json.loads(line)
        return answer


async def test_status_is_the_documented_json() -> None:
    async with served(FakeNode()) as socket:
        status = await ask(socket, SOCKET, {"do": "status"})
    assert status["version"] == 1
    assert status["node"]["name"] == "desk"
    assert status["server"] == REACHED
    assert status["peers"][0]["path"] == {
        "kind": "direct",
        "endpoint": "192.0.2.7:4242",
        "rtt_ms": 12.5,
        "mtu": 1400,
        "path_mtu": 1500,
    }


async def test_why_tells_the_reason_with_its_evidence_and_a_remedy() -> None:
    async with served(FakeNode()) as socket:
        peer = await ask(socket, SOCKET, {"do": "why", "peer": "laptop"})
    assert peer["reason"]["code"] == "udp_blocked"
    assert peer["reason"]["evidence"] == "eleven servers asked, none answered"
    assert peer["reason"]["remedy"]


class Outcast(FakeNode):
    """A node whose link to the server is refused."""

    refusal = "address_full: 512 nodes are online from 25.0.0.1"

    def status(self) -> NodeStatus:
        server = ServerStatus("wss://192.0.2.1:8443", "backing_off", None, self.refusal, "ask the server's operator")
        return replace(super().status(), server=server)

    def peer(self, name: str) -> Laptop:
        return CutOff()


class CutOff(Laptop):
    """A peer that nobody introduces."""

    def status(self) -> PeerStatus:
        return replace(super().status(), reason=Reason(ReasonCode.SERVER_UNREACHABLE, "no link to the server"))


async def test_why_tells_what_the_server_said_to_us() -> None:
    """The 65th node of an office saw its peers as `server_unreachable`, without another word."""
    async with served(Outcast()) as socket:
        peer = await ask(socket, SOCKET, {"do": "why", "peer": "laptop"})
    assert peer["reason"]["evidence"] == f"no link to the server ({Outcast.refusal})"
    assert peer["reason"]["remedy"] == "ask the server's operator"


async def test_ping_tells_the_round_trip_and_its_path() -> None:
    async with served(FakeNode()) as socket:
        echo = await ask(socket, SOCKET, {"do": "ping", "peer": "laptop"})
    assert (echo["id"], echo["rtt_ms"]) == ("ffff", 12.5)
    assert echo["path"]["kind"] == "direct"


async def test_a_peer_is_forgotten_by_name() -> None:
    async with served(FakeNode()) as socket:
        freed = await ask(socket, SOCKET, {"do": "forget", "peer": "laptop"})
        assert freed == {"id": "laptopid", "names": ["laptop"], "gone": False}
        with pytest.raises(PeerUnreachable):
            await ask(socket, SOCKET, {"do": "forget", "peer": "nobody"})
        with pytest.raises(SettingsError):
            await ask(socket, SOCKET, {"do": "forget"})


async def test_down_is_answered_before_the_node_ends() -> None:
    ended: list[str] = []
    async with served(FakeNode(), end=lambda: ended.append("node")) as socket, open_control(socket, SOCKET) as channel:
        assert await channel.ask({"do": "down"}) == {"name": "desk"}
        assert ended == ["node"]
        with pytest.raises(Unreachable):
            await channel.receive()


async def test_a_node_within_another_program_is_ended_by_that() -> None:
    async with served(FakeNode()) as socket:
        with pytest.raises(SettingsError, match="part of another program"):
            await ask(socket, SOCKET, {"do": "down"})
        assert (await ask(socket, SOCKET, {"do": "status"}))["node"]["name"] == "desk"


async def test_netcheck_tells_who_answered_and_who_did_not() -> None:
    async with served(FakeNode()) as socket:
        survey = await ask(socket, SOCKET, {"do": "netcheck"})
    assert survey["nat"]["mapping"] == "endpoint_independent"
    assert survey["reflexive"] == ["198.51.100.4:40000"]
    assert survey["answers"] == [{"server": "stun.example.org:3478", "mapped": "198.51.100.4:40000", "rtt_ms": 20.0}]
    assert survey["silent"] == ["stun.test:3478"]
    assert survey["second_opinion"] == {
        "classic": "Full Cone",
        "term": "full cone NAT",
        "note": "",
        "agrees": True,
    }


async def test_netcheck_tells_each_property_by_a_key_of_its_own() -> None:
    """docs/status.md promises them."""
    async with served(FakeNode()) as socket:
        survey = await ask(socket, SOCKET, {"do": "netcheck"})
    assert {key: survey[key] for key in survey["nat"]} == survey["nat"]
    assert (survey["allocation"], survey["step"], survey["load"]) == ("sequential", 2, 12.5)
    assert (survey["block"], survey["lifetime"], survey["keepalive"]) == (None, 58.0, 29.0)
    assert survey["heard"] == {"other_address": "no", "other_port": "yes"}
    assert survey["ipv6"] == {"address": True, "reached": False, "filtering": "unknown"}
    assert survey["captive_portal"] == "no"
    assert (survey["external"], survey["took_s"]) == ("25.1.0.1:4242", 3.3)
    assert survey["server"] == REACHED
    assert survey["port_mappings"] == [
        {
            "family": "ipv4",
            "state": "mapped",
            "protocol": "pcp",
            "gateway": "192.168.1.1",
            "external": survey["reflexive"][0],
            "lease_s": 7200,
            "note": "",
        },
        {
            "family": "ipv6",
            "state": "unsupported",
            "protocol": None,
            "gateway": None,
            "external": None,
            "lease_s": None,
            "note": "no gateway on the default route",
        },
    ]
    assert survey["servers"] == [
        {"server": "a.test:3478", "resolved": True, "answered_s_ago": 1.2, "rtt_ms": 20.0, "silences": 0},
        {"server": "b.test:3478", "resolved": False, "answered_s_ago": None, "rtt_ms": None, "silences": 4},
    ]


async def test_the_invite_comes_back_whole() -> None:
    node = FakeNode()
    async with served(node) as socket:
        found = await ask(socket, SOCKET, {"do": "invite"})
    assert decode_invite(found["invite"]) == node.invite


@pytest.mark.parametrize(
    "trouble",
    [
        PeerUnreachable("laptop did not answer"),
        ServerUnreachable("nobody at home"),
        Unreachable("nobody"),
        SettingsError("not a name"),
        DeviceError("no such device"),
        TunnelError("something else"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_an_error_of_the_node_is_the_same_error_for_the_client(trouble: TunnelError) -> None:
    """Exit codes of the commands follow from the error's type."""
    async with served(FakeNode(trouble)) as socket:
        with pytest.raises(type(trouble)) as caught:
            await ask(socket, SOCKET, {"do": "ping", "peer": "laptop"})
    assert type(caught.value) is type(trouble)
    assert str(caught.value) == str(trouble)


@pytest.mark.parametrize("text", ["", "the network is full"])
async def test_a_refusal_keeps_its_code(text: str) -> None:
    async with served(FakeNode(Refused("quota", text))) as socket:
        with pytest.raises(Refused) as caught:
            await ask(socket, SOCKET, {"do": "why", "peer": "laptop"})
    assert caught.value.code == "quota"
    assert str(caught.value) == str(Refused("quota", text))


async def test_a_bug_in_the_node_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    node = FakeNode(ZeroDivisionError("secret inner words"))
    async with served(node) as socket, open_control(socket, SOCKET) as channel:
        with pytest.raises(TunnelError) as caught:
            await channel.ask({"do": "why", "peer": "laptop"})
        node.trouble = None
        assert (await channel.ask({"do": "why", "peer": "laptop"}))["name"] == "laptop"
    assert "secret inner words" not in str(caught.value)
    assert any(record.exc_info for record in caplog.records)


BAD_LINES = [
    b"\n",
    b"no json\n",
    b"[1]\n",
    b"null\n",
    b"\xff\xfe\n",
    b"[" * 50_000 + b"\n",
    b'{"do": 5}\n',
    b'{"do": ["status"]}\n',
    b'{"do": "explode"}\n',
    b'{"do": "why"}\n',
    b'{"do": "ping", "peer": ""}\n',
    b'{"do": "ping", "peer": 7}\n',
    b'{"do": "watch", "every": "often"}\n',
    b'{"do": "watch", "every": true}\n',
    b'{"do": "watch", "every": 0}\n',
    b'{"do": "watch", "every": NaN}\n',
    b"x" * (MAX_LINE + 1) + b"\n",
    b"x" * (3 * MAX_LINE) + b"\n",
]


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: repr(line[:30]))
async def test_a_bad_line_is_answered_once_and_the_next_one_as_if_nothing_was(line: bytes) -> None:
    async with served(FakeNode()) as socket:
        raw = Raw(await socket.open_stream(SOCKET))
        await raw.say(line)
        answer = await raw.hear()
        assert answer["ok"] is False
        assert answer["code"] == "bad_request"
        await raw.say(b'{"do": "status"}\n')
        assert (await raw.hear())["ok"] is True


@given(st.lists(st.binary(max_size=40), max_size=5))
async def test_no_bytes_end_the_service(pieces: list[bytes]) -> None:
    async with served(FakeNode()) as socket:
        stream = await socket.open_stream(SOCKET)
        for piece in pieces:
            await stream.send_all(piece)
        await stream.aclose()
        assert (await ask(socket, SOCKET, {"do": "status"}))["version"] == 1


async def test_a_request_may_come_in_pieces_and_two_in_one() -> None:
    async with served(FakeNode()) as socket:
        raw = Raw(await socket.open_stream(SOCKET))
        for byte in b'{"do": "status"}\n{"do": "why", "peer": "lap':
            await raw.say(bytes([byte]))
        assert (await raw.hear())["result"]["version"] == 1
        await raw.say(b'top"}\n{"do": "status"}\n')
        assert (await raw.hear())["result"]["name"] == "laptop"
        assert (await raw.hear())["result"]["version"] == 1


async def test_watch_tells_the_status_first_and_then_each_change(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode()
    async with served(node) as socket, open_control(socket, SOCKET) as channel:
        first = await channel.ask({"do": "watch"})
        assert first["change"] is None
        assert first["status"]["node"]["name"] == "desk"
        await trio.testing.wait_all_tasks_blocked()
        await node.changes[0].send(Change(peer_status(), Move(107.0, "connected", "path_lost", "punching")))
        second = await channel.receive()
    assert second["change"] == {
        "peer": "laptopid",
        "name": "laptop",
        "at": 107.0,
        "from": "connected",
        "event": "path_lost",
        "to": "punching",
    }
    assert second["status"]["version"] == 1


async def test_watch_with_every_also_tells_when_nothing_changes(autojump_clock: trio.testing.MockClock) -> None:
    async with served(FakeNode()) as socket, open_control(socket, SOCKET) as channel:
        began = trio.current_time()
        await channel.ask({"do": "watch", "every": 2})
        times = []
        for _ in range(3):
            await channel.receive()
            times.append(trio.current_time() - began)
    assert times == pytest.approx([2, 4, 6])


async def test_a_watch_ends_when_the_client_hangs_up() -> None:
    node = FakeNode()
    async with served(node) as socket:
        async with open_control(socket, SOCKET) as channel:
            await channel.ask({"do": "watch"})
            await trio.testing.wait_all_tasks_blocked()
            assert node.watchers == 1
        await trio.testing.wait_all_tasks_blocked()
        assert node.watchers == 0


async def test_another_command_ends_the_watch_and_is_answered() -> None:
    node = FakeNode()
    async with served(node) as socket:
        raw = Raw(await socket.open_stream(SOCKET))
        await raw.say(b'{"do": "watch"}\n')
        await raw.hear()
        await raw.say(b'{"do": "why", "peer": "laptop"}\n')
        assert (await raw.hear())["result"]["name"] == "laptop"
        assert node.watchers == 0


async def test_one_connection_too_many_hears_busy_until_another_leaves() -> None:
    async with served(FakeNode()) as socket:
        streams = [await socket.open_stream(SOCKET) for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TunnelError, match="more than 32 connections"):
            await ask(socket, SOCKET, {"do": "status"})
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(socket, SOCKET, {"do": "status"}))["version"] == 1
