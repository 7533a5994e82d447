"""The real program, but what it reads from its TUN interface goes to the peer that it knows, whoever it is for.

So a test can send what it likes to a peer's kernel: `trespasser.py ARGUMENT...`, arguments as for `p2ptunnel-trio`.
"""

from __future__ import annotations

from tunnel.cli import main
from tunnel.riders.tun_plane import Recipient, TunPlane


def trespass() -> None:
    """From now on."""
    is_honest_about = TunPlane._send

    def send(plane: TunPlane, packet: bytes) -> None:
        holder_of = plane._recipient_of
        holders = getattr(holder_of, "__self__")._holders  # noqa: B009 - the directory, whose method it is
        anybody: Recipient | None = next(iter(holders.values()), None)
        plane._recipient_of = lambda _: anybody
        try:
            is_honest_about(plane, packet)
        finally:
            plane._recipient_of = holder_of

    TunPlane._send = send  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    trespass()
    main()
