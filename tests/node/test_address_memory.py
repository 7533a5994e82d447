"""An address that connected and carried nothing goes last."""

from __future__ import annotations

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.node.address_memory import FORGOTTEN_AFTER, MAX_REMEMBERED, AddressMemory

A, B, C = (Endpoint(f"25.0.0.{number}", 443) for number in (1, 2, 3))


async def test_what_failed_goes_last_and_what_failed_latest_at_the_very_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    memory = AddressMemory()
    assert memory.ordered([A, B, C]) == (A, B, C)
    memory.note_failed(A)
    assert memory.ordered([A, B, C]) == (B, C, A)
    await trio.sleep(1.0)
    memory.note_failed(B)
    assert memory.ordered([A, B, C]) == (C, A, B)
    await trio.sleep(1.0)
    memory.note_failed(A)
    assert memory.ordered([A, B, C]) == (C, B, A)


async def test_it_is_forgotten_after_half_an_hour_or_in_another_network(autojump_clock: trio.testing.MockClock) -> None:
    memory = AddressMemory()
    memory.note_failed(A)
    await trio.sleep(FORGOTTEN_AFTER)
    assert memory.ordered([A, B]) == (A, B)
    memory.note_failed(A)
    memory.forget()
    assert memory.ordered([A, B]) == (A, B)


async def test_a_name_that_resolves_to_ever_new_addresses_costs_no_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    memory = AddressMemory()
    for port in range(MAX_REMEMBERED + 1):
        memory.note_failed(Endpoint("25.0.0.1", 1 + port))
    last = Endpoint("25.0.0.1", 1 + MAX_REMEMBERED)
    assert memory.ordered([last, Endpoint("25.0.0.1", 1)]) == (Endpoint("25.0.0.1", 1), last)
