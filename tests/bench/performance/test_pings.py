from __future__ import annotations

from bench.performance.pings import round_trips

OUTPUT = """\
PING 10.86.0.3 (10.86.0.3) 56(84) bytes of data.
64 bytes from 10.86.0.3: icmp_seq=1 ttl=64 time=0.973 ms
64 bytes from 200:8b9a::1: icmp_seq=2 ttl=64 time=12.4 ms
64 bytes from 10.86.0.3: icmp_seq=3 ttl=64 time=1042 ms

--- 10.86.0.3 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 3003ms
rtt min/avg/max/mdev = 0.973/351.8/1042.0/488.1 ms
"""


def test_every_answer_is_a_round_trip_and_nothing_else() -> None:
    assert round_trips(OUTPUT) == [0.973, 12.4, 1042.0]
