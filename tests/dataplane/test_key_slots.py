"""Next, current, previous: which keys there are, and which index is given back when."""

from __future__ import annotations

from tunnel.crypto.noise import SessionKeys
from tunnel.dataplane.key_slots import KeySlots

AGREED = SessionKeys(bytes(32), bytes(31) + b"\x01", bytes(32))


def test_a_set_is_found_from_the_moment_it_is_made_until_a_second_one_has_followed() -> None:
    released: list[int] = []
    slots = KeySlots(released.append)
    made = [slots.make(AGREED, index, 100 + index, 0.0) for index in (1, 2, 3)]
    for keys in made:
        assert slots.find(keys.own_index) is keys
        slots.install(keys)
    assert (slots.next, slots.current, slots.previous) == (None, made[2], made[1])
    assert slots.find(1) is None
    assert released == [1]


def test_an_offer_takes_the_place_of_the_one_before() -> None:
    """The peer has agreed twice and used neither: it uses the latest, or none."""
    released: list[int] = []
    slots = KeySlots(released.append)
    first, second = (slots.make(AGREED, index, 0, 0.0) for index in (1, 2))
    slots.offer(first)
    slots.offer(second)
    assert (slots.next, slots.current) == (second, None)
    assert released == [1]


def test_dropping_gives_every_index_back_once() -> None:
    released: list[int] = []
    slots = KeySlots(released.append)
    for index in (1, 2):
        slots.install(slots.make(AGREED, index, 0, 0.0))
    slots.make(AGREED, 3, 0, 0.0)
    slots.drop()
    slots.drop()
    assert (slots.next, slots.current, slots.previous) == (None, None, None)
    assert sorted(released) == [1, 2, 3]
