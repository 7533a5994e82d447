"""Actions: what is done to the network and by whom, each at its moment. Values only; `runs/deeds.py` does them.

Times are seconds since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

LEAST_SIZE = 20
"""Bytes of a datagram that a run sends, at least: a mark and its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that is done at a moment. The class's `word` is its name in files."""

    word: ClassVar[str]
    at: float

    def __str__(self) -> str:
        """The deed as a person would write it."""
        told = (
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.name != "at" and getattr(self, each.name) != each.default
        )
        return f"{self.word} {' '.join(told)}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    """Start the program of a host, or `server`; one that was ended starts again with what its machine kept."""

    word: ClassVar[str] = "start"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    """End a program as SIGTERM does: it says farewell."""

    word: ClassVar[str] = "stop"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Action):
    """End a program as kill -9 does: its sockets vanish, its streams are reset, it says nothing."""

    word: ClassVar[str] = "kill"
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(Action):
    """A program is stopped for `seconds` as by SIGSTOP, and goes on; its machine goes on all the time.

    What arrives meanwhile waits in the machine's buffers. What the program's users would send is not sent.
    """

    word: ClassVar[str] = "freeze"
    who: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Action):
    """Send datagrams through the tunnel for a while. `until` is a moment, not a length."""

    word: ClassVar[str] = "send"
    who: str
    to: str
    every: float = 0.1
    until: float
    size: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect(Action):
    """Want a peer, once."""

    word: ClassVar[str] = "connect"
    who: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Action):
    """Let no packet pass between two owners of addresses: hosts, outermost routers, `server`."""

    word: ClassVar[str] = "cut"
    one: str
    other: str
    udp: bool = True
    tcp: bool = True
    both_ways: bool = True
    """Else only what goes from `one` to `other` is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift(Action):
    """End a cut."""

    word: ClassVar[str] = "lift"
    one: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine(Action):
    """The line of a host, router or `server` is another one from now on; what is not named stays."""

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
    """A router starts again: all that it remembered is gone."""

    word: ClassVar[str] = "reboot"
    router: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumber(Action):
    """A router gets another outer address, as home lines do at night."""

    word: ClassVar[str] = "renumber"
    router: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut(Action):
    """A router lets less out from now on: `udp` is open, blocked or web_only."""

    word: ClassVar[str] = "shut"
    router: str
    udp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mislead(Action):
    """A router's gateway lies in another way from now on, or no more: `lie` is a word of a gateway's."""

    word: ClassVar[str] = "mislead"
    router: str
    lie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roam(Action):
    """A host moves to another network and gets other addresses there."""

    word: ClassVar[str] = "roam"
    host: str
    behind: str | None = None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplug(Action):
    """A host loses its network."""

    word: ClassVar[str] = "unplug"
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug(Action):
    """A host has its network again."""

    word: ClassVar[str] = "plug"
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(Action):
    """A host sleeps: nothing reaches it or leaves it, and its boot clock says so afterwards.

    Its program's timers go on, which those of a machine asleep do not: what ends meanwhile, ends a little early.
    """

    word: ClassVar[str] = "sleep"
    host: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpClock(Action):
    """The wall clock of a host or of the `server` jumps."""

    word: ClassVar[str] = "jump_clock"
    host: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FillDisk(Action):
    """From now on nothing can be written to the disk of a host or of the `server`; `full` false makes room again."""

    word: ClassVar[str] = "fill_disk"
    host: str
    full: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseNames(Action):
    """From now on a host's resolver knows no name; `lost` false gives them back."""

    word: ClassVar[str] = "lose_names"
    host: str
    lost: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPort(Action):
    """Somebody on a host asks the gateway for a port, by UPnP, and starts the node with what he got as `external`."""

    word: ClassVar[str] = "map_port"
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone(Action):
    """A host's disk is copied from another's, node key and all; what runs there reads it at its next start."""

    word: ClassVar[str] = "clone"
    host: str
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay(Action):
    """Another VPN comes up between two hosts. It rides in their tunnel; with a `latency` it takes a way of its own.

    The hosts have a TUN interface (`tun`) where it rides. What it wraps can be recognised unless it is `encrypted`.
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
    """Somebody takes all addresses off the tunnel interface (`tun`) of a host."""

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
    Overlay,
    Flush,
)
