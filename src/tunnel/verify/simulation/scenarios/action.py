"""Actions: what is done to the network and its hosts, each at its moment. Values only; `runs/actions.py` performs them.

Times are seconds since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

LEAST_SIZE = 20
"""The smallest datagram that a run sends, in bytes: a mark and its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that is done at a moment. The class's `word` is its name in files."""

    word: ClassVar[str]
    at: float

    def __str__(self) -> str:
        """The action as a scenario file writes it, in one line."""
        told = (
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.name != "at" and getattr(self, each.name) != each.default
        )
        return f"{self.word} {' '.join(told)}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    """Start the program of a host or of `server`; after an end it starts with what its machine kept."""

    word: ClassVar[str] = "start"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    """End a program as SIGTERM does: it takes leave of server and peers."""

    word: ClassVar[str] = "stop"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Action):
    """End a program as kill -9 does: its sockets vanish, its streams are reset, and it says nothing."""

    word: ClassVar[str] = "kill"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(Action):
    """Stop a program for `seconds` as by SIGSTOP; its machine runs on.

    What arrives meanwhile waits in the machine's buffers. What the program's users would send is not sent.
    """

    word: ClassVar[str] = "freeze"
    who: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Action):
    """Send datagrams through the tunnel for a while. `until` is a moment, not a length.

    With `ip` they are UDP in IP packets, by the TUN interfaces (`tun`) of both hosts; `size` is without their headers.
    """

    word: ClassVar[str] = "send"
    who: str
    to: str
    every: float = 0.1
    until: float
    size: int = 100
    burst: int = 1
    """So many at each moment."""
    ip: int | None = None
    """4 or 6. None: datagrams of an application that uses the library."""
    superpacket: bool = False
    """The kernel passes each burst as one superpacket (USO): the sender's interface has `offloads`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect(Action):
    """Ask for a connection to a peer, once."""

    word: ClassVar[str] = "connect"
    who: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Action):
    """Drop all packets between two hosts, outermost routers or `server`."""

    word: ClassVar[str] = "cut"
    one: str
    other: str
    udp: bool = True
    tcp: bool = True
    both_ways: bool = True
    """False: only what goes from `one` to `other` is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift(Action):
    """End a cut."""

    word: ClassVar[str] = "lift"
    one: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine(Action):
    """Change the line of a host, router or `server`; what is not named stays."""

    word: ClassVar[str] = "line"
    of: str
    latency: float | None = None
    jitter: float | None = None
    loss_up: float | None = None
    loss_down: float | None = None
    udp_loss_up: float | None = None
    udp_loss_down: float | None = None
    reorder: float | None = None
    duplicate: float | None = None
    mtu_up: int | None = None
    mtu_down: int | None = None
    rate_up: float | None = None
    rate_down: float | None = None
    udp_rate_up: float | None = None
    udp_rate_down: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot(Action):
    """Restart a router: it has forgotten everything."""

    word: ClassVar[str] = "reboot"
    router: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumber(Action):
    """Give a router another outer address, as providers of home lines do at night."""

    word: ClassVar[str] = "renumber"
    router: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut(Action):
    """Change what a router lets out: `udp` is open, blocked or web_only."""

    word: ClassVar[str] = "shut"
    router: str
    udp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mislead(Action):
    """Change how a router's gateway lies: `lie` is one of a gateway's words."""

    word: ClassVar[str] = "mislead"
    router: str
    lie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roam(Action):
    """Move a host to another network, with other addresses."""

    word: ClassVar[str] = "roam"
    host: str
    behind: str | None = None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplug(Action):
    """Unplug a host from its network."""

    word: ClassVar[str] = "unplug"
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug(Action):
    """Plug a host in again."""

    word: ClassVar[str] = "plug"
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(Action):
    """Suspend a host: nothing reaches it or leaves it, and its boot clock shows it afterward.

    Its program's timers run on, unlike those of a suspended machine: what ends meanwhile ends a little early.
    """

    word: ClassVar[str] = "sleep"
    host: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpClock(Action):
    """Make the wall clock of a host or of `server` jump."""

    word: ClassVar[str] = "jump_clock"
    host: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FillDisk(Action):
    """Fill the disk of a host or of `server`: nothing can be written. With `full` false there is room again."""

    word: ClassVar[str] = "fill_disk"
    host: str
    full: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseNames(Action):
    """Let a host's resolver find no name. With `lost` false it finds them again."""

    word: ClassVar[str] = "lose_names"
    host: str
    lost: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPort(Action):
    """Request a port of the gateway by UPnP, as a user of the host does, and start the node with it as `external`."""

    word: ClassVar[str] = "map_port"
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone(Action):
    """Copy another host's disk to this one, with the node key; the program here reads it at its next start."""

    word: ClassVar[str] = "clone"
    host: str
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Install(Action):
    """Install another version on a host: its node speaks it from its next start on."""

    word: ClassVar[str] = "install"
    host: str
    protocol_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay(Action):
    """Set up another VPN between two hosts, inside their tunnel; with a `latency` it takes a path of its own.

    Inside the tunnel it needs a TUN interface (`tun`) on both hosts. Its content can be recognized unless `encrypted`.
    """

    word: ClassVar[str] = "overlay"
    one: str
    other: str
    addresses: tuple[str, ...] = ("10.99.0.1", "10.99.0.2")
    latency: float | None = None
    mtu: int = 1420
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush(Action):
    """Remove all addresses from the tunnel interface (`tun`) of a host."""

    word: ClassVar[str] = "flush"
    host: str


ANY_ACTION: tuple[type[Action], ...] = (
    Start,
    Stop,
    Kill,
    Freeze,
    Send,
    Connect,
    Cut,
    Lift,
    ChangeLine,
    Reboot,
    Renumber,
    Shut,
    Mislead,
    Roam,
    Unplug,
    Plug,
    Sleep,
    JumpClock,
    FillDisk,
    LoseNames,
    MapPort,
    Clone,
    Install,
    Overlay,
    Flush,
)
