"""One TCP stream, as fast as it goes. Run by its path inside a lab, so it imports nothing of the project.

tcp_throughput.py receive ADDRESS PORT             prints "ready", then what arrived: BYTES SECONDS
tcp_throughput.py send ADDRESS PORT SECONDS
"""

from __future__ import annotations

import socket
import sys
import time

CHUNK = 64 * 1024
PATIENCE = 10.0


def receive(address: str, port: int) -> None:
    """Receive one stream to its end. The clock runs from its first byte."""
    with socket.create_server((address, port)) as listener:
        print("ready", flush=True)
        listener.settimeout(PATIENCE)
        stream, _ = listener.accept()
    with stream:
        stream.settimeout(PATIENCE)
        count = len(stream.recv(CHUNK))
        began = last = time.monotonic()
        while chunk := stream.recv(CHUNK):
            count += len(chunk)
            last = time.monotonic()
    print(count, max(last - began, 0.001), flush=True)


def send(address: str, port: int, seconds: float) -> None:
    """Send for so many seconds."""
    filling = bytes(CHUNK)
    with socket.create_connection((address, port), timeout=PATIENCE) as stream:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            stream.sendall(filling)


def main() -> None:
    """The process."""
    what, address, port, *rest = sys.argv[1:]
    if what == "receive":
        receive(address, int(port))
    else:
        send(address, int(port), float(rest[0]))


if __name__ == "__main__":
    main()
