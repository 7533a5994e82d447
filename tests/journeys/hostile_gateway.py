"""A gateway that is of no use: `hostile_gateway.py ADDRESS MOOD`, on UDP 5351 and 1900 and on TCP 5000 of the address.

    silent    takes every question, and never says anything; its UPnP service is found, and then hangs
    garbage   answers everything with random bytes, many of them
    lying     grants every port, at an address that is nobody's and for a second

It prints `ready` when it listens. Standard library alone.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import sys

PORT, SSDP, HTTP = 5351, 1900, 5000
DISCOVERY = "239.255.255.250"
NOBODY = socket.inet_aton("25.255.255.254")
FOUND = (
    "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    "USN: uuid:25::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://{address}:5000/igd.xml\r\n\r\n"
)


def lie(question: bytes) -> bytes | None:
    """Whatever is asked for, in NAT-PMP or PCP, is granted somewhere else."""
    if len(question) == 2:
        return struct.pack("!BBHI", 0, 128, 0, 1) + NOBODY
    if question[0] == 0 and len(question) >= 12:
        port = question[4:6]
        return struct.pack("!BBHI", 0, 128 | question[1], 0, 1) + port + port + struct.pack("!I", 1)
    if question[0] == 2 and len(question) >= 60:
        answer = struct.pack("!BBxBII12x", 2, 128 | question[1], 0, 1, 1)
        return answer + question[24:44] + bytes(10) + b"\xff\xff" + NOBODY
    return None


def main(address: str, mood: str) -> None:
    chance = random.Random(mood)
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind((address, PORT))
    searched = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    searched.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    searched.bind(("", SSDP))
    group = socket.inet_aton(DISCOVERY) + socket.inet_aton(address)
    searched.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    web = socket.create_server((address, HTTP))
    kept = []
    print("ready", flush=True)
    while True:
        for ready in select.select([asked, searched, web], [], [])[0]:
            if ready is web:
                stream, _ = web.accept()
                if mood == "garbage":
                    stream.sendall(chance.randbytes(4096))
                    stream.close()
                else:
                    kept.append(stream)  # and never answered
                continue
            question, asker = ready.recvfrom(2048)
            if ready is searched:
                if b"M-SEARCH" in question:
                    searched.sendto(FOUND.format(address=address).encode(), asker)
            elif mood == "garbage":
                for _ in range(100):
                    asked.sendto(chance.randbytes(chance.randrange(1, 200)), asker)
            elif mood == "lying":
                answer = lie(question)
                if answer is not None:
                    asked.sendto(answer, asker)


if __name__ == "__main__":
    main(*sys.argv[1:])
