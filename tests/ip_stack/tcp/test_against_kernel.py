"""The kernel as oracle: the same segments to its TCP and to ours, and the same answers from both."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from tests.ip_stack.tcp.kernel import KernelNetwork, KernelScript, in_own_namespace
from tests.ip_stack.tcp.script import Said, Script

from tunnel.wire.tcp import ACK, FIN, PSH, RST, SYN

OPTIONS = b"\x02\x04" + (1000).to_bytes(2) + b"\x01\x01\x04\x02"
"""Of the peer's SYN: MSS 1000 and SACK."""


class Says(NamedTuple):
    """The peer's segment."""

    flags: int
    offset: int
    ack: int = 1
    data: bytes = b""
    options: bytes = b""
    window: int = 65535


class Does(NamedTuple):
    """The user's part."""

    verb: str
    size: int = 0


Step = Says | Does

SYNS = (Says(SYN, 0, 0, options=OPTIONS),)
PASSIVE = (*SYNS, Says(ACK, 1))
ANSWER = Says(SYN | ACK, 0, 1, options=OPTIONS)
ACTIVE = (ANSWER,)
SHUT = (*PASSIVE, Does("shutdown"))
SHUT_BY_PEER = (*PASSIVE, Says(FIN | ACK, 1))

CONVERSATIONS: dict[str, tuple[Step, ...]] = {
    "passive open": PASSIVE,
    "delayed and other acknowledgments": (
        *PASSIVE,
        Says(ACK, 1, data=b"a" * 500),
        Says(ACK, 501, data=b"a" * 1000),
        Says(ACK, 1501, data=b"a" * 1000),
        Does("receive"),
    ),
    "closed by the peer": (*SHUT_BY_PEER, Does("receive"), Does("shutdown"), Says(ACK, 2, 2)),
    "closed by us": (*SHUT, Says(ACK, 1, 2), Says(FIN | ACK, 1, 2), Says(FIN | ACK, 1, 2)),
    "simultaneous close": (*SHUT, Says(FIN | ACK, 1, 1), Says(ACK, 2, 2)),
    "FIN and acknowledgment of ours": (*SHUT, Says(FIN | ACK, 1, 2)),
    "half-closed": (*SHUT, Says(ACK, 1, 2), Says(ACK, 1, 2, b"d" * 100), Does("receive")),
    "SYN again": (*SYNS, *SYNS),
    "bad acknowledgment of our SYN": (*SYNS, Says(ACK, 1, 77)),
    "RST in SYN-RECEIVED": (*SYNS, Says(RST, 1, 0)),
    "RST": (*PASSIVE, Says(RST, 1, 0), Does("receive")),
    "RST elsewhere in the window": (*PASSIVE, Says(RST, 50, 0), Says(ACK, 1, data=b"x")),
    "RST outside of the window": (*PASSIVE, Says(RST, 200_000, 0), Says(RST, 0, 0)),
    "SYN in the window": (*PASSIVE, Says(SYN, 10, 0)),
    "old SYN": (*PASSIVE, *SYNS),
    "SYN-ACK again": (*PASSIVE, ANSWER),
    "acknowledgment of the future": (*PASSIVE, Says(ACK, 1, 1000), Says(ACK, 1, 1000, b"zz"), Does("receive")),
    "ancient acknowledgment": (*PASSIVE, Says(ACK, 1, -100_000, b"zz"), Does("receive")),
    "data outside of the window": (*PASSIVE, Says(ACK, 500_000, data=b"zz")),
    "old data": (*PASSIVE, Says(ACK, 1, data=b"abc"), Says(ACK, 1, data=b"abc"), Does("receive")),
    "overlapping data": (*PASSIVE, Says(ACK, 1, data=b"abc"), Says(ACK, 1, data=b"abcdef"), Does("receive")),
    "gaps": (
        *PASSIVE,
        Says(ACK, 101, data=b"b" * 100),
        Says(ACK, 301, data=b"d" * 100),
        Says(ACK, 1, data=b"a" * 100),
        Says(ACK, 201, data=b"c" * 100),
        Does("receive"),
    ),
    "FIN beyond a gap": (*PASSIVE, Says(FIN | ACK, 4), Says(ACK, 1, data=b"abc"), Does("receive")),
    "data behind FIN": (*PASSIVE, Says(FIN | ACK, 1, data=b"end"), Says(ACK, 5, data=b"more"), Does("receive")),
    "no ACK": (*PASSIVE, Says(PSH, 1, 0, b"data"), Does("receive")),
    "keepalive probe": (*PASSIVE, Says(ACK, 0)),
    "data of ours": (*PASSIVE, Does("send", 500), Says(ACK, 1, 501)),
    "closed window": (
        *SYNS,
        Says(ACK, 1, window=0),
        Does("send", 100),
        Says(ACK, 1, window=1000),
        Says(ACK, 1, 101),
    ),
    "abort": (*PASSIVE, Does("abort")),
    "close with data unread": (*PASSIVE, Says(ACK, 1, data=b"abc"), Does("close")),
    "RST in FIN-WAIT-1": (*SHUT, Says(RST, 1, 0)),
    "RST in FIN-WAIT-2": (*SHUT, Says(ACK, 1, 2), Says(RST, 1, 0)),
    "RST in CLOSE-WAIT": (*SHUT_BY_PEER, Says(RST, 2, 0), Does("receive")),
    "RST in TIME-WAIT": (*SHUT, Says(FIN | ACK, 1, 2), Says(RST, 2, 0)),
    "RST in LAST-ACK": (*SHUT_BY_PEER, Does("shutdown"), Says(RST, 2, 0)),
    "RST in CLOSING": (*SHUT, Says(FIN | ACK, 1, 1), Says(RST, 2, 0)),
    "old SYN in TIME-WAIT": (*SHUT, Says(FIN | ACK, 1, 2), *SYNS),
    "active open": (*ACTIVE, Does("send", 10), Says(ACK, 1, 11)),
    "active open refused": (Says(RST | ACK, 0, 1),),
    "RST without ACK in SYN-SENT": (Says(RST, 0, 0), ANSWER),
    "simultaneous open": (*SYNS, ANSWER, Does("send", 5)),
    "simultaneous open, acknowledged alone": (*SYNS, Says(ACK, 1), Does("send", 5)),
}
ACTIVE_ONES = frozenset(
    name for name in CONVERSATIONS if "active" in name or "imultaneous open" in name or "SENT" in name
)

Told = list[tuple[list[tuple[str, int, int, int]], int]]


def plain(said: list[Said]) -> list[tuple[str, int, int, int]]:
    """Without PSH, which is the kernel's own choice."""
    return [(each.flags.replace("P", ""), *each[1:]) for each in said]


def ours(steps: tuple[Step, ...], *, passive: bool) -> Told:
    script = Script(passive=passive)
    told: Told = []
    if not passive:
        told.append((plain(script.sent()), -1))
    for number, step in enumerate(steps):
        got = -1
        match step:
            case Says() if passive and number == 0:
                said = script.sent()
            case Says(flags, offset, ack, data, options, window):
                said = script.says(flags, offset, ack, data, window=window, options=options)
            case Does(verb, size):
                got = does(script, verb, size)
                said = script.sent()
        told.append((plain(said + script.after(0.06)), got))
    return told


def does(script: Script, verb: str, size: int) -> int:
    connection = script.connection
    match verb:
        case "send":
            connection.send(bytes(size))
        case "receive":
            data = connection.receive(1 << 20)
            return len(data) if data or connection.eof else -1
        case "shutdown":
            connection.shutdown()
        case "close":
            connection.close()
        case _:
            connection.abort()
    return -1


def kernels(network: KernelNetwork, steps: tuple[Step, ...], expected: Told, *, passive: bool) -> Told:
    script = KernelScript(network, passive=passive)
    counts = [len(said) for said, _ in expected]
    told: Told = []
    if not passive:
        told.append((plain(script.answers(counts.pop(0))), -1))
    try:
        for step, count in zip(steps, counts, strict=True):
            match step:
                case Says():
                    told.append((plain(script.says(count, *step)), -1))
                case Does(verb, size):
                    said, got = script.does(count, verb, size)
                    told.append((plain(said), got))
    finally:
        script.end()
    return told


@pytest.mark.netlab
def test_the_kernel_answers_as_we_do() -> None:
    """Each conversation with both. A difference is shown step by step."""
    different = []

    def compare(network: KernelNetwork) -> None:
        for name, steps in CONVERSATIONS.items():
            passive = name not in ACTIVE_ONES
            expected = ours(steps, passive=passive)
            found = kernels(network, steps, expected, passive=passive)
            if found != expected:
                different.append((name, found, expected))

    in_own_namespace(compare)
    assert different == []
