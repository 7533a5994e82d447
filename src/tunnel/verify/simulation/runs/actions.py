"""Performs the actions of a scenario, each at its moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import trio

from tunnel.model.errors import Refused, Unreachable
from tunnel.verify.reachability.topology import Lie, Udp
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.scenarios.action import (
    Action,
    ChangeLine,
    Clone,
    Connect,
    Cut,
    FillDisk,
    Flush,
    Freeze,
    Install,
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


async def perform(programs: Programs, actions: Sequence[Action], nursery: trio.Nursery) -> None:
    """Perform all actions in the order of time; those of one moment in the order of the scenario."""
    for action in sorted(actions, key=lambda action: action.at):
        await trio.sleep_until(action.at)
        programs.trace.happen(str(action))
        ACTS[type(action)](programs, action, nursery)


def _send(programs: Programs, action: Send, nursery: trio.Nursery) -> None:
    nursery.start_soon(programs.send, action)


def _connect(programs: Programs, action: Connect, nursery: trio.Nursery) -> None:
    nursery.start_soon(programs.want, action.who, action.to)


def _cut(programs: Programs, action: Cut, _: trio.Nursery) -> None:
    programs.net.cut(action.one, action.other, udp=action.udp, tcp=action.tcp, both_ways=action.both_ways)


def _change_line(programs: Programs, action: ChangeLine, _: trio.Nursery) -> None:
    line = programs.net.lines[action.of]
    changes = {
        each.name: getattr(action, each.name)
        for each in fields(action)
        if each.name not in ("at", "of") and getattr(action, each.name) is not None
    }
    line.conditions = replace(line.conditions, **changes)


def _shut(programs: Programs, action: Shut, _: trio.Nursery) -> None:
    router = programs.net.routers[action.router]
    router.spec = replace(router.spec, udp=Udp(action.udp))


def _mislead(programs: Programs, action: Mislead, _: trio.Nursery) -> None:
    router = programs.net.routers[action.router]
    router.spec = replace(router.spec, gateway=replace(router.spec.gateway, lie=Lie(action.lie)))


def _sleep(programs: Programs, action: Sleep, nursery: trio.Nursery) -> None:
    nursery.start_soon(_sleep_through, programs, action)


async def _sleep_through(programs: Programs, action: Sleep) -> None:
    programs.net.unplug(action.host)
    await trio.sleep(action.seconds)
    programs.net.hosts[action.host].clock.wake(action.seconds)
    programs.net.plug(action.host)
    programs.trace.happen(f"{action.host} wakes")


def _freeze(programs: Programs, action: Freeze, nursery: trio.Nursery) -> None:
    nursery.start_soon(_freeze_through, programs, action)


async def _freeze_through(programs: Programs, action: Freeze) -> None:
    go_on = programs.freeze(action.who)
    await trio.sleep(action.seconds)
    go_on()


def _fill_disk(programs: Programs, action: FillDisk, _: trio.Nursery) -> None:
    programs.net.hosts[action.host].store.is_full = action.full


def _jump_clock(programs: Programs, action: JumpClock, _: trio.Nursery) -> None:
    programs.net.hosts[action.host].clock.wall_offset += action.seconds


def _map_port(programs: Programs, action: MapPort, nursery: trio.Nursery) -> None:
    nursery.start_soon(_map_and_start, programs, action)


async def _map_and_start(programs: Programs, action: MapPort) -> None:
    settings = programs.settings[action.host]
    try:
        external, _ = await programs.net.hosts[action.host].port_mapper.map_port(action.port, LEASE)
    except (Unreachable, Refused) as error:
        programs.trace.happen(f"{action.host} got no port: {error}")
        programs.settings[action.host] = replace(settings, udp_port=action.port)
    else:
        programs.trace.happen(f"{action.host} got {external}")
        programs.settings[action.host] = replace(settings, udp_port=action.port, external=external)
    programs.start(action.host)


def _clone(programs: Programs, action: Clone, _: trio.Nursery) -> None:
    hosts = programs.net.hosts
    hosts[action.host].store.files = dict(hosts[action.of].store.files)


def _install(programs: Programs, action: Install, _: trio.Nursery) -> None:
    settings = programs.settings[action.host]
    programs.settings[action.host] = replace(settings, protocol_version=action.protocol_version)


def _overlay(programs: Programs, action: Overlay, _: trio.Nursery) -> None:
    programs.net.overlay(
        action.one, action.other, action.addresses, latency=action.latency, mtu=action.mtu, encrypted=action.encrypted
    )


def _flush(programs: Programs, action: Flush, _: trio.Nursery) -> None:
    for device in programs.net.hosts[action.host].devices.open.values():
        device.link.lose()


def _at_once(act: Callable[[Programs, Any], None]) -> Callable[[Programs, Any, trio.Nursery], None]:
    return lambda programs, action, _: act(programs, action)


ACTS: dict[type[Action], Callable[[Programs, Any, trio.Nursery], None]] = {
    Start: _at_once(lambda programs, action: programs.start(action.who)),
    Stop: _at_once(lambda programs, action: programs.stop(action.who)),
    Kill: _at_once(lambda programs, action: programs.kill(action.who)),
    Freeze: _freeze,
    Send: _send,
    Connect: _connect,
    Cut: _cut,
    Lift: _at_once(lambda programs, action: programs.net.lift(action.one, action.other)),
    ChangeLine: _change_line,
    Reboot: _at_once(lambda programs, action: programs.net.routers[action.router].reboot()),
    Renumber: _at_once(lambda programs, action: programs.net.routers[action.router].change_address(action.address)),
    Shut: _shut,
    Mislead: _mislead,
    Roam: _at_once(lambda programs, action: programs.net.move(action.host, action.behind, *action.addresses)),
    Unplug: _at_once(lambda programs, action: programs.net.unplug(action.host)),
    Plug: _at_once(lambda programs, action: programs.net.plug(action.host)),
    Sleep: _sleep,
    JumpClock: _jump_clock,
    FillDisk: _fill_disk,
    LoseNames: _at_once(lambda programs, action: programs.net.lose_names(action.host, lost=action.lost)),
    MapPort: _map_port,
    Clone: _clone,
    Install: _install,
    Overlay: _overlay,
    Flush: _flush,
}
