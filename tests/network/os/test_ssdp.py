"""Searching for the gateway's UPnP service, on loopback: the question goes to one socket instead of the group."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.routes import Gateway
from tunnel.network.os import ssdp as real_ssdp
from tunnel.network.os.ssdp import MAX_NOISE, find_description

ROUTER, NEIGHBOR = "127.0.0.1", "127.0.0.2"
GATEWAY = Gateway(ROUTER, "127.0.0.3")
AT_HOME = f"http://{ROUTER}:5000/igd.xml"


def answer(location: str, status: str = "200 OK", name: str = "LOCATION") -> bytes:
    return f"HTTP/1.1 {status}\r\nST: upnp:rootdevice\r\n{name}: {location}\r\nEXT:\r\n\r\n".encode()


class Lan:
    """A router and a neighbor: what each says to the first question, before the others are looked at."""

    def __init__(self, router: socket.socket, neighbor: socket.socket) -> None:
        self._voices = {ROUTER: router, NEIGHBOR: neighbor}
        self._group = Endpoint(*router.getsockname())
        self.questions: list[bytes] = []

    async def find(self, *says: tuple[str, bytes]) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, says)
            with trio.fail_after(10):
                url = await find_description(GATEWAY, self._group)
            nursery.cancel_scope.cancel()
        return url

    async def _answer(self, says: tuple[tuple[str, bytes], ...]) -> None:
        asked = self._voices[ROUTER]
        await trio.lowlevel.wait_readable(asked)
        question, asker = asked.recvfrom(2048)
        self.questions.append(question)
        for voice, datagram in says:
            self._voices[voice].sendto(datagram, asker)


@pytest.fixture
def lan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    monkeypatch.setattr(real_ssdp, "WAITS", (0.1, 0.1))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as router,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbor,
    ):
        router.bind((ROUTER, 0))
        neighbor.bind((NEIGHBOR, 0))
        yield Lan(router, neighbor)


@pytest.mark.parametrize("name", ["LOCATION", "Location", "location"])
async def test_the_gateway_says_where_it_describes_itself(lan: Lan, name: str) -> None:
    assert await lan.find((ROUTER, answer(AT_HOME, name=name))) == AT_HOME
    assert lan.questions[0].startswith(b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n")


async def test_a_neighbor_that_answers_first_is_not_believed(lan: Lan) -> None:
    """Whatever it names: itself, or the gateway."""
    others = [answer(f"http://{NEIGHBOR}:5000/igd.xml"), answer(f"http://{ROUTER}:7777/reboot")]
    assert await lan.find(*((NEIGHBOR, other) for other in others), (ROUTER, answer(AT_HOME))) == AT_HOME


@pytest.mark.parametrize(
    "said",
    [
        answer("http://127.0.0.9:7777/secret"),
        answer("http://localhost:7777/secret"),
        answer(f"http://{ROUTER}@127.0.0.9/"),
        answer(AT_HOME, status="404 Not Found"),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"NOTIFY * HTTP/1.1\r\nLOCATION: " + AT_HOME.encode() + b"\r\n\r\n",
        b"\xff" * 100,
    ],
    ids=["elsewhere", "a name", "with a user", "not found", "nowhere", "no answer", "junk"],
)
async def test_a_gateway_that_leads_elsewhere_or_nowhere_is_none(lan: Lan, said: bytes) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="no UPnP gateway answers")):
        await lan.find((ROUTER, said))


async def test_junk_before_the_answer_is_passed_over(lan: Lan) -> None:
    junk = (ROUTER, b"\xff" * 100)
    assert await lan.find(junk, junk, (ROUTER, answer(AT_HOME))) == AT_HOME


async def test_a_flood_of_answers_ends_the_search(lan: Lan) -> None:
    flood = [(NEIGHBOR, answer(AT_HOME))] * MAX_NOISE
    with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="too many")):
        await lan.find(*flood, (ROUTER, answer(AT_HOME)))


async def test_an_address_that_has_gone_meanwhile_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DeviceError("this machine does not have that address")

    monkeypatch.setattr(real_ssdp, "open_bound", fail)
    with pytest.raises(Unreachable, match="does not have that address"):
        await find_description(GATEWAY)
