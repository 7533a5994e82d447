"""Datagrams as a socket reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tunnel.network.datagrams import MAX_RECEIVED, MAX_SEGMENTS


def reads_of(datagrams: Iterable[bytes], may_join: Callable[[], bool]) -> Iterator[list[bytes]]:
    """Reads as UDP_GRO makes them, ended earlier where `may_join` says so."""
    read: list[bytes] = []
    for datagram in datagrams:
        is_end = read and (len(read[-1]) != len(read[0]) or len(datagram) > len(read[0]))
        is_full = len(read) >= MAX_SEGMENTS or sum(map(len, read)) + len(datagram) > MAX_RECEIVED
        if read and (is_end or is_full or not may_join()):
            yield read
            read = []
        read.append(datagram)
    if read:
        yield read
