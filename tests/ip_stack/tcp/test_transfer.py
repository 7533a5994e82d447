"""Two connections and a bad link: every byte arrives, in order, whatever the link does."""

from __future__ import annotations

import random

import pytest
from tests.ip_stack.tcp.link import Faults, Link, pump

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.errors import TcpError

FAULTS = {
    "perfect": Faults(),
    "loss": Faults(loss=0.1),
    "reordering": Faults(reordering=0.3, jitter=0.02),
    "duplication": Faults(duplication=0.3),
    "all": Faults(loss=0.1, reordering=0.2, duplication=0.1, jitter=0.01),
    "slow": Faults(rate=200_000, queue=20_000, delay=0.05),
    "superpackets": Faults(loss=0.1, reordering=0.2, is_cutting=False),
    "far": Faults(delay=0.4, loss=0.02),
    "near": Faults(delay=0.0001, loss=0.02),
}
CONFIGS = {
    "usual": TcpConfig(),
    "small": TcpConfig(receive_buffer=5000, send_buffer=7000, least_buffer=3000),
    "plain": TcpConfig(superpacket=1, is_nagling=True),
}


def transfer(link: Link, seed: int, size: int, back: int) -> None:
    """Both ways at once, until both have closed."""
    a_data, b_data = random.Random(seed).randbytes(size), random.Random(seed + 1).randbytes(back)
    pump(link, a_data, b_data)
    assert link.run(lambda: len(link.ends) == 2 and all(end.connection.is_closed for end in link.ends))
    assert bytes(link.b.received) == a_data, "\n".join(link.log[-30:])
    assert bytes(link.a.received) == b_data, "\n".join(link.log[-30:])
    assert [end.connection.error for end in link.ends] == [None, None]
    assert link.a.connection.eof
    assert link.b.connection.eof
    assert not any(end.reset for end in link.ends)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("faults", FAULTS)
def test_every_byte_arrives_in_order(faults: str, config: str) -> None:
    """And each end closes without an error."""
    for seed in range(4):
        link = Link(seed, FAULTS[faults], CONFIGS[config])
        transfer(link, seed, 60_000 if config == "usual" else 20_000, 5_000)


@pytest.mark.parametrize("seed", range(30))
def test_every_byte_arrives_between_ends_of_all_kinds(seed: int) -> None:
    """Settings, faults and openings mixed by the seed."""
    chance = random.Random(seed)
    config, other = (CONFIGS[chance.choice([*CONFIGS])] for _ in range(2))
    link = Link(seed, FAULTS[chance.choice([*FAULTS])], config, other, is_simultaneous=chance.random() < 0.3)
    transfer(link, seed, chance.randint(0, 50_000), chance.randint(0, 50_000))


@pytest.mark.parametrize("seed", range(5))
def test_every_byte_arrives_while_the_mtu_changes(seed: int) -> None:
    """A router drops what is too long, and says so; later the path takes more again."""
    link = Link(seed, Faults(loss=0.02, delay=0.02))
    a_data = random.Random(seed).randbytes(300_000)
    pump(link, a_data)
    pumped, mtus = link.turn, [1400, 900, 1300, 700, 1400]

    def turn() -> None:
        mtu = mtus[int(link.now * 4) % len(mtus)]
        if mtu != link.faults.mtu:
            link.faults.mtu = mtu
            for end in link.ends:
                end.connection.change_mtu(mtu)
        pumped()

    link.turn = turn
    assert link.run(lambda: len(link.ends) == 2 and all(end.connection.is_closed for end in link.ends))
    assert bytes(link.b.received) == a_data


@pytest.mark.parametrize("seed", range(5))
def test_every_byte_arrives_while_the_path_switches(seed: int) -> None:
    """Between a near direct path and a far relay, each quarter of a second, with a silence between them."""
    link = Link(seed, Faults(delay=0.005, jitter=0.002))
    a_data = random.Random(seed).randbytes(2_000_000)
    pump(link, a_data)
    pumped = link.turn

    def turn() -> None:
        phase = link.now * 3.7 % 2
        link.faults.delay = 0.005 if phase < 1 else 0.08
        link.faults.loss = 1.0 if phase % 1 < 0.1 else 0.0
        pumped()

    link.turn = turn
    assert link.run(lambda: len(link.ends) == 2 and all(end.connection.is_closed for end in link.ends))
    assert bytes(link.b.received) == a_data
    assert link.now - 100 < 130


def test_a_slow_reader_stops_a_fast_sender_and_loses_nothing() -> None:
    link = Link(config=TcpConfig(receive_buffer=20_000, least_buffer=20_000))
    data = random.Random(1).randbytes(200_000)
    pump(link, data)
    link.run(lambda: len(link.ends) == 2 and link.b.connection.is_established)
    link.b.is_reading = False
    link.run(seconds=300)
    assert link.b.connection.readable <= 20_000
    assert link.a.connection.error is None
    link.b.is_reading = True
    assert link.run(lambda: link.b.connection.eof)
    assert bytes(link.b.received) == data


def test_a_link_that_dies_ends_both() -> None:
    link = Link(config=TcpConfig(keepalive_idle=60.0))
    pump(link, bytes(1_000_000), is_closing=False)
    link.run(seconds=0.1)
    link.faults.loss = 1.0
    link.run(lambda: all(end.connection.is_closed for end in link.ends))
    assert [end.connection.error for end in link.ends] == [TcpError.TIMED_OUT] * 2


@pytest.mark.parametrize("seed", range(3))
def test_one_percent_of_loss_costs_no_more_than_cubic_allows(seed: int) -> None:
    """50 ms and 1 %: the model of RFC 9438 says 1.17 segments for each root of the loss, at least Reno's 1.2 / 0.1."""
    link = Link(seed, Faults(delay=0.025, loss=0.01))
    pump(link, bytes(3_000_000))
    start = link.now
    assert link.run(lambda: len(link.ends) == 2 and len(link.b.received) == 3_000_000)
    assert 3_000_000 / (link.now - start) > 0.8 * 1348 / 0.05 * 1.22 / 0.1


def test_a_fast_path_is_filled() -> None:
    """100 Mbit/s and 50 ms with half that much queue: nine tenths within two seconds and a half."""
    link = Link(1, Faults(delay=0.025, rate=12.5e6, queue=300_000))
    pump(link, bytes(20_000_000))
    start = link.now
    assert link.run(lambda: len(link.ends) == 2 and len(link.b.received) == 20_000_000)
    assert link.now - start < 2.5
