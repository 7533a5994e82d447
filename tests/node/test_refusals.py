"""Each way in which the server does not have us comes with what a person can do about it."""

from __future__ import annotations

import socket

import pytest
import trio

from tunnel.model.errors import MalformedFrame, ProxyRefused, Refused, ServerUnreachable, Unreachable
from tunnel.network.os.resolver import RealResolver
from tunnel.node.refusals import REMEDIES, is_final, remedy_for


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (None, "check that the server runs"),
        (ServerUnreachable("no answer"), "check that the server runs"),
        (Refused("version"), REMEDIES["version"]),
        (Refused("wrong_pin"), "open a web page. Or the server has a new certificate: ask for a new invite"),
        (Refused("wrong_certificate"), "open a web page. Otherwise give the server a certificate"),
        (Refused("wrong_date"), "set this machine's clock"),
        (ServerUnreachable("no TLS: WRONG_VERSION_NUMBER"), "what answers there does not speak TLS"),
        (Refused("busy"), "the node keeps trying"),
        (Refused("replaced"), "on one of the two remove node.key"),
        (Refused("address_full"), "--max-connections-per-address"),
        (Unreachable("no TLS: the connection ended"), "how many connections come from your address"),
        (ProxyRefused("407", 407), "http://USER:PASSWORD@HOST:PORT"),
        (ProxyRefused("403", 403), "allow CONNECT to that host and port"),
        (ProxyRefused("502", 502), "name the server's host in NO_PROXY"),
        (MalformedFrame("what?"), "check that a p2ptunnel-trio server"),
    ],
    ids=[
        "silence",
        "unreachable",
        "final",
        "pin",
        "certificate",
        "date",
        "no TLS",
        "for now",
        "a twin",
        "an office",
        "hung up",
        "proxy: who?",
        "proxy: no",
        "proxy: broken",
        "strange",
    ],
)
def test_each_failure_has_its_remedy(failure: Exception | None, words: str) -> None:
    assert words in remedy_for(failure)
    assert failure is None or is_final(failure) == (words in REMEDIES.values())


@pytest.mark.parametrize("host", ["server.invalid", "a" * 64 + ".test"], ids=["unknown", "no host name"])
async def test_a_name_that_does_not_resolve_is_another_trouble_than_a_server_that_is_down(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    async def know_nobody(*_: object, **__: object) -> list[object]:
        await trio.lowlevel.checkpoint()
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", know_nobody)
    with pytest.raises(Unreachable) as caught:
        await RealResolver().resolve(host, 8443)
    assert "check the spelling of the name in the invite, and this machine's DNS" in remedy_for(caught.value)
