"""The real program, but what it reads from its TUN interface goes to the peer that it knows, whoever it is for.

So a test can send what it likes to a peer's kernel: `trespasser.py ARGUMENT...`, arguments as for `p2ptunnel-trio`.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from tunnel.cli import main
from tunnel.model.buffers import Buffer
from tunnel.riders.tun_plane import TunPlane


def trespass() -> None:
    """From now on."""

    def send(plane: TunPlane, frames: Iterable[Buffer]) -> None:
        peer_table = getattr(plane._flow_of, "__self__")  # noqa: B009 - whose method it is
        anybody = next(iter(peer_table._holders.values()), None)
        if anybody is not None:
            plane._outbound.send_data(anybody.flow, [bytes(frame) for frame in frames], trio.current_time())

    TunPlane._send = send  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    trespass()
    main()
