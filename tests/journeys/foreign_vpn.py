"""Another VPN for the lab's hosts, as small as one can be: `foreign_vpn.py INNER/BITS OWN OTHER MTU [DELAY_MS]`.

A TUN interface `vpn0` whose packets go in UDP from OWN to OTHER and back, so masked that nobody finds them again there.
Prints `ready` when it carries; ends when its stdin does.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import socket
import struct
import subprocess
import sys
import time

PORT = 7777
MASK = bytes(255 - byte for byte in range(256))
TUNSETIFF, IFF_TUN_WITHOUT_INFO = 0x400454CA, 0x1001
IP_MTU_DISCOVER, PMTUDISC_DONT = 10, 0


def main() -> None:
    """Carry packets until stdin ends."""
    inner, own, other, mtu = sys.argv[1:5]
    delay = float(sys.argv[5]) / 1000 if len(sys.argv) > 5 else 0.0
    outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outer.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)  # what is too big is sent in fragments
    outer.bind((own, PORT))
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"vpn0", IFF_TUN_WITHOUT_INFO))
    for command in (f"ip address add {inner} dev vpn0", f"ip link set vpn0 mtu {mtu} up"):
        subprocess.run(command.split(), check=True)
    print("ready", flush=True)
    waiting: list[tuple[float, bytes]] = []
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([tun, outer, sys.stdin], [], [], patience)
        if sys.stdin in readable:
            return
        if tun in readable:
            heapq.heappush(waiting, (time.monotonic() + delay, os.read(tun, 65536)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, packet = heapq.heappop(waiting)
            try:
                outer.sendto(packet.translate(MASK), (other, PORT))
            except OSError:
                continue  # no route now, or a full queue: a network loses packets
        if outer in readable:
            packet = outer.recv(65536).translate(MASK)
            if packet[:1] and packet[0] >> 4 == 4:
                os.write(tun, packet)


if __name__ == "__main__":
    main()
