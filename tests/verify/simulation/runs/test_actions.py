"""Each action does what it says, at its moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from tests.verify.simulation.pairs import TALK, do, expect, pair, pair_text, pair_with_tun

from tunnel.model.endpoint import Endpoint
from tunnel.verify.reachability.topology import Line, Udp
from tunnel.verify.simulation.runs.actions import ACTS
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.trace import Happened
from tunnel.verify.simulation.scenarios.action import ANY_ACTION, Kill, Send
from tunnel.verify.simulation.scenarios.scenario_file import parse_scenario


def look(*blocks: str, at: float, see: Callable[[Programs], object]) -> object:
    """Run a pair with these actions, and what `see` sees at a moment."""
    seen: list[object] = []

    async def script(programs: Programs) -> None:
        await trio.sleep_until(at)
        seen.append(see(programs))

    run_scenario(pair(*blocks, length=60.0), 0, script=script)
    return seen[0]


def states(programs: Programs) -> list[str]:
    return [node.program.link.state for node in programs.nodes.values()]


def test_an_action_is_described_by_what_differs_from_its_defaults() -> None:
    assert str(Send(at=1.0, who="desk", to="laptop", until=3.0)) == "send who='desk' to='laptop' until=3.0"
    assert str(Kill(at=1.0, who="desk")) == "kill who='desk'"


def test_each_action_has_a_word_of_its_own() -> None:
    words = [action.word for action in ANY_ACTION]
    assert len(set(words)) == len(words)


def test_each_action_can_be_done() -> None:
    """Without an entry a scenario would break at the moment of its action."""
    assert set(ACTS) == set(ANY_ACTION)


def test_actions_of_one_moment_are_done_in_their_order_and_others_by_time() -> None:
    scenario = pair(do(2.0, "unplug", host="desk"), do(1.0, "kill", who="laptop"), do(2.0, "plug", host="desk"))
    trace = run_scenario(scenario, 0, keep_trace=True).trace
    assert trace is not None
    happened = [record for record in trace.records if isinstance(record, Happened)]
    assert happened == [
        Happened(1.0, "kill who='laptop'"),
        Happened(2.0, "unplug host='desk'"),
        Happened(2.0, "plug host='desk'"),
    ]


def test_stop_ends_a_program_with_a_farewell_and_start_starts_it_again() -> None:
    stop = do(1.0, "stop", who="laptop")
    assert look(stop, at=1.5, see=lambda programs: list(programs.nodes)) == ["desk"]
    assert "withdraw" in look(stop, at=1.5, see=said_by_laptop)  # type: ignore[operator]
    again = look(stop, do(2.0, "start", who="laptop"), at=2.5, see=lambda programs: sorted(programs.nodes))
    assert again == ["desk", "laptop"]


def said_by_laptop(programs: Programs) -> list[str]:
    return [line.split()[3] for line in programs.trace.lines() if " laptop says " in line]


def test_kill_ends_a_program_without_a_word() -> None:
    assert "withdraw" not in look(do(1.0, "kill", who="laptop"), at=1.5, see=said_by_laptop)  # type: ignore[operator]
    assert look(do(1.0, "kill", who="laptop"), at=1.5, see=lambda programs: list(programs.nodes)) == ["desk"]
    assert look(do(1.0, "kill", who="server"), at=1.5, see=states) == ["backing_off", "backing_off"]


def test_a_program_that_runs_is_not_started_twice() -> None:
    epochs: list[bytes] = []
    see = lambda programs: epochs.append(programs.nodes["desk"].program.identity.epoch)  # noqa: E731
    look(at=1.0, see=see)
    look(do(0.5, "start", who="desk"), at=1.0, see=see)
    look(do(0.4, "kill", who="desk"), do(0.5, "start", who="desk"), at=1.0, see=see)
    assert epochs[0] == epochs[1] != epochs[2]


def test_send_sends_numbered_datagrams_for_a_while() -> None:
    send = do(1.0, "send", who="desk", to="laptop", until=2.0, every=0.25, size=300)
    sent = look(send, at=3.0, see=lambda programs: programs.traffic["desk", "laptop"].sent)
    assert sent == [1.0, 1.25, 1.5, 1.75]


def test_connect_wants_a_peer_once() -> None:
    state = look(do(1.0, "connect", who="desk", to="laptop"), at=2.0, see=peer_state)
    assert state == "connected"


def peer_state(programs: Programs) -> str | None:
    peer = programs.peer("desk", "laptop")
    return None if peer is None else peer.state


def test_cut_and_lift() -> None:
    want = do(1.0, "connect", who="desk", to="laptop")
    assert look(do(0.5, "cut", one="desk", other="laptop"), want, at=2.0, see=peer_state) == "punching"
    assert (
        look(
            do(0.5, "cut", one="desk", other="laptop"),
            do(0.6, "lift", one="laptop", other="desk"),
            want,
            at=2.0,
            see=peer_state,
        )
        == "connected"
    )
    assert look(do(0.0, "cut", one="desk", other="server", udp=False), at=2.0, see=lambda s: sorted(states(s))) == [
        "connecting",
        "registered",
    ]


def test_a_line_changes_what_is_named_and_keeps_the_rest() -> None:
    actions = (do(0.5, "line", of="home", loss_up=0.5, rate_up=1000.0), do(0.6, "line", of="home", loss_up=0.0))
    line = look(*actions, at=1.0, see=lambda programs: programs.net.lines["home"].conditions)
    assert line == Line(rate_up=1000.0)


def test_a_reboot_forgets_mappings_and_begins_a_new_epoch() -> None:
    def see(programs: Programs) -> tuple[float, int]:
        home = programs.net.routers["home"]
        return home.booted_at, home.live_mappings("192.168.1.2")

    assert look(at=1.0, see=lambda programs: see(programs)[1] > 0) is True
    assert look(do(0.9, "reboot", router="home"), at=0.9001, see=see) == (0.9, 0)


def test_a_line_is_renumbered() -> None:
    action = do(0.5, "renumber", router="home", address="26.9.0.9")
    assert look(action, at=1.0, see=lambda programs: programs.net.routers["home"].address) == "26.9.0.9"


@pytest.mark.parametrize("udp", list(Udp))
def test_a_router_is_shut(udp: Udp) -> None:
    action = do(0.5, "shut", router="home", udp=udp.value)
    assert look(action, at=1.0, see=lambda programs: programs.net.routers["home"].spec.udp) is udp


def test_a_host_roams_behind_another_router_or_into_the_open() -> None:
    addresses = lambda programs: programs.net.addresses_shown("desk")  # noqa: E731
    away = do(0.5, "roam", host="desk", behind="office", addresses=["192.168.2.9"])
    assert look(away, at=1.0, see=addresses) == ("192.168.2.9", "26.0.2.1")
    assert look(do(0.5, "roam", host="desk", addresses=["27.9.0.9"]), at=1.0, see=addresses) == ("27.9.0.9",)


def test_a_cable_is_pulled_and_put_back() -> None:
    addresses = lambda programs: programs.net.hosts["desk"].addresses  # noqa: E731
    unplug, plug = do(0.5, "unplug", host="desk"), do(2.0, "plug", host="desk")
    assert look(unplug, plug, at=1.0, see=addresses) == ()
    assert look(unplug, plug, at=2.5, see=addresses) == ("192.168.1.2",)


def test_a_host_that_slept_is_told_when_it_wakes() -> None:
    slept = lambda programs: (programs.net.hosts["desk"].addresses, programs.net.hosts["desk"].clock.slept)  # noqa: E731
    action = do(0.5, "sleep", host="desk", seconds=10.0)
    assert look(action, at=5.0, see=slept) == ((), 0.0)
    assert look(action, at=11.0, see=slept) == (("192.168.1.2",), 10.0)


@pytest.mark.parametrize("host", ["desk", "server"])
def test_a_wall_clock_jumps(host: str) -> None:
    action = do(0.5, "jump_clock", host=host, seconds=-3600.0)
    assert look(action, at=1.0, see=lambda programs: programs.net.hosts[host].clock.wall_offset) == -3600.0


def test_names_are_lost_and_found() -> None:
    trouble = lambda programs: programs.net.hosts["desk"].resolver.trouble is not None  # noqa: E731
    assert look(do(0.5, "lose_names", host="desk"), at=1.0, see=trouble) is True
    back = do(0.7, "lose_names", host="desk", lost=False)
    assert look(do(0.5, "lose_names", host="desk"), back, at=1.0, see=trouble) is False


@pytest.mark.parametrize(("upnp", "external"), [(True, Endpoint("26.0.1.1", 45000)), (False, None)])
def test_a_node_is_started_with_the_port_that_was_asked_for(upnp: bool, external: Endpoint | None) -> None:
    scenario = pair(do(1.0, "kill", who="desk"), do(2.0, "map_port", host="desk", port=45000), length=60.0)

    seen: list[object] = []

    async def script(programs: Programs) -> None:
        router = programs.net.routers["home"]
        router.spec = replace(router.spec, gateway=replace(router.spec.gateway, upnp=upnp))
        await trio.sleep_until(7.0)
        seen.append((programs.settings["desk"].external, programs.settings["desk"].udp_port, "desk" in programs.nodes))

    run_scenario(scenario, 0, script=script)
    assert seen == [(external, 45000, True)]


def test_a_disk_is_copied_and_both_machines_are_one_node() -> None:
    actions = (
        do(0.5, "clone", host="laptop", of="desk"),
        do(0.6, "kill", who="laptop"),
        do(0.7, "start", who="laptop"),
    )
    ids = look(*actions, at=1.0, see=lambda programs: {node.id for node in programs.nodes.values()})
    assert len(ids) == 1  # type: ignore[arg-type]


def test_an_installed_version_is_spoken_from_the_next_start_on() -> None:
    install = do(0.5, "install", host="laptop", protocol_version=1)
    spoken = lambda programs: programs.nodes["laptop"].program.settings.protocol_version  # noqa: E731
    assert look(install, at=1.0, see=spoken) == 2
    assert look(install, do(0.6, "kill", who="laptop"), do(0.7, "start", who="laptop"), at=1.0, see=spoken) == 1


def test_a_full_disk_keeps_nothing_and_costs_a_known_node_nothing() -> None:
    full = do(2.0, "fill_disk", host="laptop")
    restart = (do(3.0, "kill", who="laptop"), do(4.0, "start", who="laptop"))
    back = expect(after=4.0, by=7.0, node="laptop", peer="desk", state="connected")
    assert run_scenario(pair(TALK, full, *restart, back, length=10.0), 0).failures == ()


def test_a_node_that_never_was_here_cannot_keep_its_key_on_a_full_disk() -> None:
    """Until there is room again."""
    text = pair_text(do(0.0, "fill_disk", host="laptop"), do(1.0, "start", who="laptop"), length=10.0)
    new = parse_scenario(text.replace("[hosts.laptop]\n", '[hosts.laptop]\nstart = "never"\n'), name="new")
    assert any("No space left on device" in failure for failure in run_scenario(new, 0).failures)
    room = do(0.5, "fill_disk", host="laptop", full=False)
    here = expect(by=3.0, node="laptop", server="registered")
    text = pair_text(do(0.0, "fill_disk", host="laptop"), room, do(1.0, "start", who="laptop"), here, length=10.0)
    new = parse_scenario(text.replace("[hosts.laptop]\n", '[hosts.laptop]\nstart = "never"\n'), name="new")
    assert run_scenario(new, 0).failures == ()


def test_a_clock_may_be_wrong_from_the_beginning() -> None:
    async def look(programs: Programs) -> None:
        walls.update({name: programs.net.hosts[name].clock.wall() for name in ("desk", "laptop", "server")})

    walls: dict[str, float] = {}
    text = pair_text().replace("[hosts.desk]\n", "[server]\nclock = 60.0\n[hosts.desk]\nclock = -1.8e9\n")
    run_scenario(parse_scenario(text, name="clocks"), 0, script=look)
    assert walls == {"desk": 0.0, "laptop": 1.8e9, "server": 1.8e9 + 60.0}


def test_another_vpn_gives_two_hosts_an_address_each() -> None:
    action = do(0.5, "overlay", one="desk", other="laptop", latency=0.02)
    assert look(action, at=0.4, see=nested) == ()
    assert look(action, at=1.0, see=nested) == ("10.99.0.1",)


def nested(programs: Programs) -> tuple[str, ...]:
    found = programs.net.hosts["desk"].interfaces.addresses()
    return tuple(address for address in found if address.startswith("10.99."))


def test_addresses_are_taken_off_an_interface_and_the_node_puts_them_back() -> None:
    flush = do(2.0, "flush", host="desk")

    def gaps(at: float) -> list[float]:
        seen: list[list[float]] = []

        async def script(programs: Programs) -> None:
            await trio.sleep_until(at)
            device = programs.net.hosts["desk"].devices.open["p2pt0"]
            seen.append(device.link.gaps_until(trio.current_time()))

        run_scenario(pair_with_tun(flush), 0, script=script)
        return seen[0]

    assert gaps(1.9) == []
    assert gaps(2.05) == [pytest.approx(0.05)]
    assert gaps(3.0) == [pytest.approx(0.1)]
