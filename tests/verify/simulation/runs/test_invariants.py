"""Every invariant can fail: each is broken once, and the run says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from bench.studies.grid import COMMON, Cell, Position
from bench.studies.grid import Kind as NatKind
from bench.studies.study import study_pair
from tests.verify.simulation.pairs import do, pair, pair_with_tun

from tunnel.crypto.sealing import Sealer
from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.network.packet_devices import PacketDevice
from tunnel.node.tun_interface import Interface
from tunnel.peer.port_prediction import listener
from tunnel.peer.port_prediction.attempt import PacedProbes
from tunnel.peer.probe_budget import PredictionSlot, ProbeBudget
from tunnel.peer.probe_exchange import ProbeExchange
from tunnel.riders.loop_guard import LoopGuard
from tunnel.server.presence import Member
from tunnel.verify.memory.devices import MemoryLink
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.simulation.runs.invariants import (
    FLOW_BURST,
    FLOWS_A_SECOND,
    OVERLAY_UNNOTICED,
    PLAIN_FLOWS,
    PUNCH,
    SOCKETS,
    SOCKETS_A_SECOND,
    InvariantMonitor,
)
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.schedule import run_seeded
from tunnel.verify.simulation.runs.traffic import Traffic
from tunnel.wire.frames import BASE_SIZE, Kind
from tunnel.wire.signals import Pending, Signal

PROBE = bytes([Kind.PROBE])
TALK = do(1.0, "send", who="desk", to="laptop", until=3.0)


def run_watched(watch: InvariantMonitor, packets: int, *, ports: int = 1, hosts: int = 1, gap: float = 0.0) -> None:
    """A host sends so many probes, each to another port, from sockets and to addresses that take turns."""

    async def send() -> None:
        for number in range(packets):
            source = Endpoint("192.168.1.2", 5000 + number % ports)
            remote = Endpoint(f"25.0.0.{9 + number % hosts}", 1024 + number)
            watch.see_sent("desk", MemoryPacket(source, remote, PROBE))
            await trio.sleep(gap)

    run_seeded(send, 0)


def told(watch: InvariantMonitor) -> list[str]:
    return [failure.text for failure in watch.faults]


def test_a_run_without_fault_says_nothing() -> None:
    assert run_scenario(pair(TALK), 0).failures == ()


def test_more_flows_in_a_second_than_a_router_bears_are_a_fault() -> None:
    watch = InvariantMonitor()
    run_watched(watch, FLOWS_A_SECOND + FLOW_BURST)
    assert watch.faults == []
    run_watched(watch := InvariantMonitor(), FLOWS_A_SECOND + FLOW_BURST + 1)
    assert told(watch) == ["at 0.000 s desk opened 601 flows within a second"]


def test_more_flows_in_a_punch_than_a_router_bears_are_a_fault() -> None:
    run_watched(watch := InvariantMonitor(), 2100, gap=0.005)
    assert watch.faults[0].text.endswith("desk opened 2049 flows within 20 s, more than 2048")


def test_more_sockets_than_a_punch_may_have_are_a_fault() -> None:
    run_watched(watch := InvariantMonitor(), SOCKETS, ports=SOCKETS, gap=0.01)
    assert watch.faults == []
    run_watched(watch := InvariantMonitor(), SOCKETS + 1, ports=SOCKETS + 1, gap=0.01)
    assert told(watch) == ["at 2.560 s desk probes from 257 sockets"]
    assert watch.faults[0].about == ("desk",)
    assert watch.faults[0].at == pytest.approx(2.56)
    run_watched(watch := InvariantMonitor(), 2 * SOCKETS, ports=2 * SOCKETS, gap=PUNCH / SOCKETS)
    assert watch.faults == [], "those of a punch that was long ago"


def test_sockets_opened_all_at_once_are_a_fault() -> None:
    run_watched(watch := InvariantMonitor(), SOCKETS_A_SECOND + 1, ports=SOCKETS_A_SECOND + 1, gap=0.001)
    assert told(watch) == ["at 0.112 s desk begins to probe from 113 sockets within a second"]


def test_two_port_predictions_at_once_are_a_fault() -> None:
    run_watched(watch := InvariantMonitor(), 2 * PLAIN_FLOWS + 1, hosts=2, gap=0.01)
    assert watch.faults == []
    run_watched(watch := InvariantMonitor(), 2 * PLAIN_FLOWS + 2, hosts=2, gap=0.01)
    assert told(watch) == ["at 2.010 s desk guesses ports at 2 addresses at once"]


@pytest.mark.parametrize(
    ("limit", "fault"),
    [("take_flow", "flows within a second"), ("take_socket", "sockets within a second")],
)
def test_port_prediction_without_its_pace_is_found_out(monkeypatch: pytest.MonkeyPatch, limit: str, fault: str) -> None:
    """As many flows, or sockets, as it likes: nothing else holds it back."""
    monkeypatch.setattr(listener, "BATCH", 60)
    monkeypatch.setattr(PacedProbes.send, "__defaults__", (None, 60))

    def take(self: PredictionSlot) -> bool:
        name = limit.removeprefix("take_") + "s"
        setattr(self, name, getattr(self, name) + 1)
        return True

    topology = Cell(Position.PAIR, COMMON, NatKind("APDM", "APDF", Allocation.RANDOM)).topology
    assert study_pair(topology, 0).failures == ()
    monkeypatch.setattr(PredictionSlot, limit, take)
    assert any(fault in failure for failure in study_pair(topology, 0).failures)


def test_a_node_without_a_budget_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to hold it back, and probes that scan ports as a birthday tactic without bounds would."""
    ask = ProbeExchange.ask

    def scan(self: ProbeExchange, way: object, *, size: int = 0, ttl: int | None = None) -> None:
        ask(self, way, size=size, ttl=ttl)  # type: ignore[arg-type]
        if way.remote is not None and scans[0] < 4000:  # type: ignore[attr-defined]
            for port in range(20_000, 20_400):
                elsewhere = way._replace(remote=way.remote._replace(port=port + scans[0]))  # type: ignore[attr-defined]
                self._transmitter.send(elsewhere, PROBE + bytes(40))
            scans[0] += 400

    scans = [0]
    monkeypatch.setattr(ProbeBudget, "take", lambda self, host, now: True)
    monkeypatch.setattr(ProbeExchange, "ask", scan)
    failures = run_scenario(pair(TALK), 0).failures
    assert any("flows within a second" in failure for failure in failures)


def test_what_an_application_says_in_the_clear_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    seal = Sealer.seal_into

    def leak(self: Sealer, kind: Kind, index: int, fragments: int, plaintext: Buffer, room: memoryview) -> bytes:
        header = seal(self, kind, index, fragments, plaintext, room)
        if kind is Kind.DATA:
            room[: len(plaintext)] = plaintext
        return header

    monkeypatch.setattr(Sealer, "seal_into", leak)
    failures = run_scenario(pair(TALK), 0).failures
    assert any("desk sends what an application said in the clear to" in failure for failure in failures)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda datagram: [datagram, datagram], "datagrams from desk to laptop came out twice"),
        (lambda datagram: [datagram[:-1] + b"?"], "datagrams from desk to laptop came out other than they went in"),
        (lambda datagram: [datagram[:12] + bytes(7) + b"\xff" + datagram[20:]], "came out other than they went in"),
    ],
    ids=["twice", "damaged", "never sent"],
)
def test_a_datagram_that_comes_out_otherwise_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, change: object, told: str
) -> None:
    note = Traffic.note_arrival

    def tamper(self: Traffic, datagram: bytes, now: float) -> None:
        for each in change(datagram):  # type: ignore[operator]
            note(self, each, now)

    monkeypatch.setattr(Traffic, "note_arrival", tamper)
    assert any(told in failure for failure in run_scenario(pair(TALK), 0).failures)


def test_a_copied_host_is_proved_by_a_probe_at_either_of_the_two() -> None:
    """Both bear the peer's id, and the probes have reached one of them."""

    async def judge() -> list[str]:
        watch = InvariantMonitor()
        probe = MemoryPacket(Endpoint("25.0.0.1", 1), Endpoint("25.0.0.2", 2), PROBE + bytes(BASE_SIZE - 1))
        for host in ("desk", "laptop"):
            watch.see_arrival(host, probe, Fate.DELIVERED)
        watch.judge_connected("desk", "laptop", "copy")
        watch.judge_connected("desk", "copy")
        return told(watch)

    assert run_seeded(judge, 0) == [
        "at 0.000 s desk is connected to copy, but no full-size probe has reached copy lately"
    ]


def test_a_path_that_no_full_size_probe_has_proved_is_a_fault() -> None:
    async def judge() -> list[str]:
        watch = InvariantMonitor()
        watch.judge_connected("desk", "laptop")
        probe = MemoryPacket(Endpoint("25.0.0.1", 1), Endpoint("25.0.0.2", 2), PROBE + bytes(BASE_SIZE - 1))
        watch.see_arrival("desk", probe, Fate.DELIVERED)
        watch.see_arrival("laptop", replace_payload(probe, PROBE + bytes(40)), Fate.DELIVERED)
        watch.judge_connected("desk", "laptop")
        watch.see_arrival("laptop", probe, Fate.OVERSIZE)
        watch.see_arrival("laptop", replace_payload(probe, bytes(BASE_SIZE)), Fate.DELIVERED)
        watch.judge_connected("desk", "laptop")
        watch.see_arrival("laptop", probe, Fate.DELIVERED)
        watch.judge_connected("desk", "laptop")
        return told(watch)

    missing = "at 0.000 s desk is connected to laptop, but no full-size probe has reached {} lately"
    assert run_seeded(judge, 0) == [missing.format(side) for side in ("desk", "laptop", "laptop", "laptop")]


def replace_payload(packet: MemoryPacket, payload: bytes) -> MemoryPacket:
    return MemoryPacket(packet.source, packet.destination, payload)


def test_a_server_that_drops_a_request_in_silence_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = Member.tell

    def withhold(self: Member, signal: Signal) -> None:
        if not isinstance(signal, Pending):
            tell(self, signal)

    monkeypatch.setattr(Member, "tell", withhold)
    failures = run_scenario(pair(TALK), 0).failures
    assert "the server was asked for 1 introductions and answered 0" in failures


def test_a_program_that_does_not_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunnel.node.program import NodeProgram

    async def linger(self: NodeProgram) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10.0)

    monkeypatch.setattr(NodeProgram, "_leave", linger)
    scenario = pair(length=2.0)
    quick = replace(scenario.nodes["desk"].settings.timings, leave_patience=30.0)
    nodes = {
        host: replace(plan, settings=replace(plan.settings, timings=quick)) for host, plan in scenario.nodes.items()
    }
    failures = run_scenario(replace(scenario, nodes=nodes), 0).failures
    assert failures[:2] == tuple(f"{who} did not end within 3 s of being told to" for who in ("desk", "laptop"))


def test_an_error_that_a_program_logs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunnel.peer.request_states import RequestStates

    async def stumble(self: RequestStates) -> str:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(RequestStates, "request", stumble)
    failures = run_scenario(pair(TALK, length=3.5), 0).failures
    assert any("logged as an error: peer failed" in failure and "ZeroDivisionError" in failure for failure in failures)


def test_a_program_that_crashes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunnel.verify.simulation.runs import programs as programs

    async def fall(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the server fell")

    monkeypatch.setattr(programs, "serve", fall)
    failures = run_scenario(pair(length=2.0), 0).failures
    assert any("server: ZeroDivisionError('the server fell')" in failure for failure in failures)


def test_who_answers_opens_nothing() -> None:
    """The peer's probe made routers remember the flow: many answers to one address are no guesses."""
    watch = InvariantMonitor()

    async def answer() -> None:
        for number in range(4 * PLAIN_FLOWS):
            here, there = Endpoint("192.168.1.2", 5000), Endpoint(f"25.0.0.{9 + number % 2}", 1024 + number)
            watch.see_arrival("desk", MemoryPacket(there, here, PROBE), Fate.DELIVERED)
            watch.see_sent("desk", MemoryPacket(here, there, PROBE))
            await trio.sleep(0.01)

    run_seeded(answer, 0)
    assert watch.faults == []


@pytest.mark.parametrize("is_started_anew", [True, False])
def test_each_program_has_a_budget_of_its_own(is_started_anew: bool) -> None:
    watch = InvariantMonitor()

    async def probe_from_many() -> None:
        for number in range(SOCKETS + 40):
            if is_started_anew and number == SOCKETS // 2:
                watch.note_start("desk")
            source, remote = Endpoint("192.168.1.2", 5000 + number), Endpoint(f"25.0.0.{number % 200}", 1024 + number)
            watch.see_sent("desk", MemoryPacket(source, remote, PROBE))
            await trio.sleep(0.02)

    run_seeded(probe_from_many, 0)
    assert (watch.faults == []) == is_started_anew


def test_an_interface_that_stays_without_addresses_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_away(interface: Interface, device: PacketDevice) -> None:
        await trio.sleep_forever()

    scenario = pair_with_tun(do(1.0, "flush", host="desk"))
    assert run_scenario(scenario, 0).failures == ()
    monkeypatch.setattr(Interface, "_keep", look_away)
    assert run_scenario(scenario, 0).failures == ("p2pt0 of desk was without addresses for 4.0 s",)


def test_an_interface_with_addresses_that_are_not_the_node_s_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLink, "readdress", lambda *_: None)
    failures = run_scenario(pair_with_tun(), 0).failures
    assert sorted(failure.partition(" has ")[0] for failure in failures) == ["p2pt0 of desk", "p2pt0 of laptop"]


def test_data_on_a_way_that_leads_through_the_tunnel_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken are both: what recognizes our own datagrams, and what counts the bytes that the tunnel carried."""
    overlay = do(4.0, "overlay", one="desk", other="laptop", encrypted=True)
    talk = do(1.0, "send", who="desk", to="laptop", every=0.2, until=19.0)
    scenario = pair_with_tun(overlay, talk, nat="symmetric", length=20.0)
    assert run_scenario(scenario, 0).failures == ()
    monkeypatch.setattr(LoopGuard, "carried", property(lambda _: 0, lambda _guard, _bytes: None), raising=False)
    failures = run_scenario(scenario, 0).failures
    assert any("a way that leads through the tunnel itself" in failure for failure in failures)


def test_probes_on_such_a_way_are_none() -> None:
    """They must be sent, to find out."""
    watch = InvariantMonitor()

    async def ride() -> None:
        for kind in (Kind.PROBE, Kind.HANDSHAKE, Kind.DATA):
            packet = MemoryPacket(Endpoint("10.99.0.1", 5000), Endpoint("10.99.0.2", 5000), bytes([kind]))
            watch.see_encapsulated("desk", packet, OVERLAY_UNNOTICED + 1.0)
            watch.see_encapsulated("desk", packet, OVERLAY_UNNOTICED - 1.0)

    run_seeded(ride, 0)
    assert told(watch) == ["at 0.000 s desk sends data to 10.99.0.2:5000, a way that leads through the tunnel itself"]
