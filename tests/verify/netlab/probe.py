"""A program for the lab's hosts: an echo server, or an agent that does what its stdin says. Standard library only.

    python -I -S probe.py echo ADDRESS ADDRESS      UDP on both addresses x PORTS, TCP on the first one
    python -I -S probe.py agent                     one JSON object a line, one answer a line

The echo server answers a request `{"id", "from", "after"}` with `{"id", "seen"}`: the source that it saw, sent from the
address and port `from` (RFC 5780's OTHER-ADDRESS and CHANGE-REQUEST in one) `after` so many seconds (RESPONSE-PORT).
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from typing import Any

PORTS = (3478, 3479)
TCP_PORTS = (22, 443, 8080)


def echo(addresses: list[str]) -> None:
    sockets: dict[tuple[str, int], socket.socket] = {}
    for address in addresses:
        for port in PORTS:
            sockets[address, port] = udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((address, port))
    threading.Thread(target=answer_datagrams, args=(sockets,), daemon=True).start()
    for port in TCP_PORTS:
        listener = socket.create_server((addresses[0], port))
        threading.Thread(target=answer_streams, args=(listener,), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def answer_datagrams(sockets: dict[tuple[str, int], socket.socket]) -> None:
    """One thread for all: answers that are due at once leave in the order of their requests."""
    while True:
        for asked in select.select(list(sockets.values()), [], [])[0]:
            data, source = asked.recvfrom(2048)
            request = json.loads(data)
            reply = json.dumps({"id": request["id"], "seen": source}).encode()
            answering = sockets[tuple(request["from"])] if request["from"] else asked
            if request["after"]:
                threading.Timer(request["after"], answering.sendto, (reply, source)).start()
            else:
                answering.sendto(reply, source)


def answer_streams(listener: socket.socket) -> None:
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=answer_stream, args=(stream,), daemon=True).start()


def answer_stream(stream: socket.socket) -> None:
    with stream:
        try:
            while data := stream.recv(65536):
                stream.sendall(data)
        except ConnectionError:
            return


class Agent:
    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.asked = 0

    def do(self, order: dict[str, Any]) -> Any:
        return getattr(self, "do_" + order.pop("do"))(**order)

    def do_open(self, port: int, ipv6: bool) -> int:
        self.udp.close()
        self.udp = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", port))
        return int(self.udp.getsockname()[1])

    def do_ask(self, to: list[Any], after: float, within: float) -> list[Any] | None:
        """The source that the echo server saw and the round trip in seconds, or None."""
        began = time.monotonic()
        asked = self.ask(to, None, after)
        while (heard := self.hear(began + within)) is not None:
            reply = json.loads(heard[0])
            if reply["id"] == asked:
                return [*reply["seen"], time.monotonic() - began]
        return None

    def do_admits(self, to: list[Any], answer_from: list[Any]) -> bool:
        """Whether an answer from elsewhere passes. It had its chance when an answer asked for later is here."""
        elsewhere, usual = self.ask(to, answer_from, 0), self.ask(to, None, 0)
        heard = []
        while (answer := self.hear(time.monotonic() + (0.02 if usual in heard else 5))) is not None:
            heard.append(json.loads(answer[0])["id"])
        assert usual in heard
        return elsewhere in heard

    def ask(self, to: list[Any], answer_from: list[Any] | None, after: float) -> int:
        self.asked += 1
        self.udp.sendto(json.dumps({"id": self.asked, "from": answer_from, "after": after}).encode(), tuple(to))
        return self.asked

    def do_send(self, to: list[Any], text: str, ttl: int) -> None:
        if self.udp.family == socket.AF_INET:
            self.udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        self.udp.sendto(text.encode(), tuple(to))

    def do_exchange(self, to: list[Any], data: str, within: float) -> str | None:
        """Send these bytes, in hex, and return what comes back first."""
        self.udp.sendto(bytes.fromhex(data), tuple(to))
        heard = self.hear(time.monotonic() + within)
        return None if heard is None else heard[0].hex()

    def do_hear(self, within: float) -> list[Any] | None:
        """The next datagram's text, or None."""
        heard = self.hear(time.monotonic() + within)
        return None if heard is None else [heard[0].decode(), *heard[1][:2]]

    def hear(self, until: float) -> tuple[bytes, Any] | None:
        self.udp.settimeout(max(0.001, until - time.monotonic()))
        try:
            return self.udp.recvfrom(2048)
        except TimeoutError:
            return None

    def do_say(self, to: list[Any], first: str, within: float) -> str:
        """Open a stream, say something, and return what came back: the same, "reset" or "silence"."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.settimeout(within)
            try:
                stream.connect(tuple(to))
                stream.sendall(first.encode("latin-1"))
                return stream.recv(2048).decode("latin-1")
            except ConnectionResetError:
                return "reset"
            except TimeoutError:
                return "silence"

    def do_pump(self, to: list[Any], size: int) -> bool:
        """Send `size` bytes of a known pattern through a stream, and say whether they came back whole."""
        pattern = bytes(range(256)) * (size // 256)
        back = bytearray()
        with socket.create_connection(tuple(to), 5) as stream:
            stream.settimeout(20)
            sender = threading.Thread(target=stream.sendall, args=(pattern,))
            sender.start()
            while len(back) < len(pattern):
                back += stream.recv(1 << 20)
            sender.join()
        return bytes(back) == pattern


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2:])
    else:
        agent = Agent()
        for line in sys.stdin:
            print(json.dumps(agent.do(json.loads(line))), flush=True)
