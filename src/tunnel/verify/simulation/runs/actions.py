"""Does what a scenario says, each deed at its moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import trio

from tunnel.model.errors import Refused, Unreachable
from tunnel.verify.simulation.internet.topology import Lie, Udp
from tunnel.verify.simulation.runs.programs import Stage
from tunnel.verify.simulation.scenarios.action import (
    ChangeLine,
    Clone,
    Connect,
    Cut,
    Deed,
    FillDisk,
    Flush,
    Freeze,
    JumpClock,
    Kill,
    Lift,
    LoseNames,
    MapPort,
    Mislead,
    Overlay,
    Plug,
    Reboot,
    Renumber,
    Roam,
    Send,
    Shut,
    Sleep,
    Start,
    Stop,
    Unplug,
)

LEASE = 7200.0


async def perform(stage: Stage, deeds: Sequence[Deed], nursery: trio.Nursery) -> None:
    """Do them all in the order of time; those of one moment in the order in which they stand."""
    for deed in sorted(deeds, key=lambda deed: deed.at):
        await trio.sleep_until(deed.at)
        stage.trace.happen(str(deed))
        _ACTS[type(deed)](stage, deed, nursery)


def _send(stage: Stage, deed: Send, nursery: trio.Nursery) -> None:
    nursery.start_soon(stage.send, deed.who, deed.to, deed.every, deed.until, deed.size)


def _connect(stage: Stage, deed: Connect, nursery: trio.Nursery) -> None:
    nursery.start_soon(stage.want, deed.who, deed.to)


def _cut(stage: Stage, deed: Cut, _: trio.Nursery) -> None:
    stage.town.cut(deed.one, deed.other, udp=deed.udp, tcp=deed.tcp, both_ways=deed.both_ways)


def _change_line(stage: Stage, deed: ChangeLine, _: trio.Nursery) -> None:
    line = stage.town.lines[deed.of]
    changes = {
        each.name: getattr(deed, each.name)
        for each in fields(deed)
        if each.name not in ("at", "of") and getattr(deed, each.name) is not None
    }
    line.conditions = replace(line.conditions, **changes)


def _shut(stage: Stage, deed: Shut, _: trio.Nursery) -> None:
    router = stage.town.routers[deed.router]
    router.spec = replace(router.spec, udp=Udp(deed.udp))


def _mislead(stage: Stage, deed: Mislead, _: trio.Nursery) -> None:
    router = stage.town.routers[deed.router]
    router.spec = replace(router.spec, gateway=replace(router.spec.gateway, lie=Lie(deed.lie)))


def _sleep(stage: Stage, deed: Sleep, nursery: trio.Nursery) -> None:
    nursery.start_soon(_sleep_through, stage, deed)


async def _sleep_through(stage: Stage, deed: Sleep) -> None:
    stage.town.unplug(deed.host)
    await trio.sleep(deed.seconds)
    stage.town.hosts[deed.host].clock.wake(deed.seconds)
    stage.town.plug(deed.host)
    stage.trace.happen(f"{deed.host} wakes")


def _freeze(stage: Stage, deed: Freeze, nursery: trio.Nursery) -> None:
    nursery.start_soon(_freeze_through, stage, deed)


async def _freeze_through(stage: Stage, deed: Freeze) -> None:
    go_on = stage.freeze(deed.who)
    await trio.sleep(deed.seconds)
    go_on()


def _fill_disk(stage: Stage, deed: FillDisk, _: trio.Nursery) -> None:
    stage.town.hosts[deed.host].store.is_full = deed.full


def _jump_clock(stage: Stage, deed: JumpClock, _: trio.Nursery) -> None:
    stage.town.hosts[deed.host].clock.wall_offset += deed.seconds


def _map_port(stage: Stage, deed: MapPort, nursery: trio.Nursery) -> None:
    nursery.start_soon(_map_and_start, stage, deed)


async def _map_and_start(stage: Stage, deed: MapPort) -> None:
    settings = stage.settings[deed.host]
    try:
        external, _ = await stage.town.hosts[deed.host].port_mapper.map_port(deed.port, LEASE)
    except (Unreachable, Refused) as error:
        stage.trace.happen(f"{deed.host} got no port: {error}")
        stage.settings[deed.host] = replace(settings, udp_port=deed.port)
    else:
        stage.trace.happen(f"{deed.host} got {external}")
        stage.settings[deed.host] = replace(settings, udp_port=deed.port, external=external)
    stage.start(deed.host)


def _clone(stage: Stage, deed: Clone, _: trio.Nursery) -> None:
    hosts = stage.town.hosts
    hosts[deed.host].store.files = dict(hosts[deed.of].store.files)


def _overlay(stage: Stage, deed: Overlay, _: trio.Nursery) -> None:
    stage.town.overlay(
        deed.one, deed.other, deed.addresses, latency=deed.latency, mtu=deed.mtu, encrypted=deed.encrypted
    )


def _flush(stage: Stage, deed: Flush, _: trio.Nursery) -> None:
    for device in stage.town.hosts[deed.host].devices.open.values():
        device.link.lose()


def _on_town(act: Callable[[Stage, Any], None]) -> Callable[[Stage, Any, trio.Nursery], None]:
    return lambda stage, deed, _: act(stage, deed)


_ACTS: dict[type[Deed], Callable[[Stage, Any, trio.Nursery], None]] = {
    Start: _on_town(lambda stage, deed: stage.start(deed.who)),
    Stop: _on_town(lambda stage, deed: stage.stop(deed.who)),
    Kill: _on_town(lambda stage, deed: stage.kill(deed.who)),
    Freeze: _freeze,
    Send: _send,
    Connect: _connect,
    Cut: _cut,
    Lift: _on_town(lambda stage, deed: stage.town.lift(deed.one, deed.other)),
    ChangeLine: _change_line,
    Reboot: _on_town(lambda stage, deed: stage.town.routers[deed.router].reboot()),
    Renumber: _on_town(lambda stage, deed: stage.town.routers[deed.router].change_address(deed.address)),
    Shut: _shut,
    Mislead: _mislead,
    Roam: _on_town(lambda stage, deed: stage.town.move(deed.host, deed.behind, *deed.addresses)),
    Unplug: _on_town(lambda stage, deed: stage.town.unplug(deed.host)),
    Plug: _on_town(lambda stage, deed: stage.town.plug(deed.host)),
    Sleep: _sleep,
    JumpClock: _jump_clock,
    FillDisk: _fill_disk,
    LoseNames: _on_town(lambda stage, deed: stage.town.lose_names(deed.host, lost=deed.lost)),
    MapPort: _map_port,
    Clone: _clone,
    Overlay: _overlay,
    Flush: _flush,
}
