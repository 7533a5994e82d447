"""Whether something counts our datagrams and drops what comes fast: a limit on UDP, against floods.

    burst of questions at once ---> most are lost
    single ones, a while apart ---> nearly all are answered
    the same again             ---> the same again

Each half of that alone is a lossy line or a busy server; together, and twice, they are neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.nat.stun_client import Asker, StunClient

ROUNDS = 2
BURST = 12
SINGLES = 5
APART = 0.25
"""Seconds between two single questions."""
PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """How many of each were answered."""

    burst: int
    singles: int

    @property
    def is_shaped(self) -> bool:
        """At most a third of the burst, and all but one of the others."""
        return 3 * self.burst <= BURST and self.singles >= SINGLES - 1


async def is_shaped(stun_client: StunClient, server: Endpoint) -> bool:
    """Try it, where a network looks as if it were: 34 packets and 5 s. Raises DeviceError when no socket can be had."""
    asker = await stun_client.open_asker(is_ipv6=server.is_ipv6)
    for _ in range(ROUNDS):
        if not (await _try(stun_client, asker, server)).is_shaped:
            return False
    return True


async def _try(stun_client: StunClient, asker: Asker, server: Endpoint) -> Round:
    burst = asker.question(server)
    for _ in range(BURST):
        burst.shoot()
    await stun_client.wait(lambda: burst.answered == BURST, PATIENCE)
    single = asker.question(server)
    for _ in range(SINGLES):
        await trio.sleep(APART)
        single.shoot()
    await stun_client.wait(lambda: single.answered == SINGLES, PATIENCE)
    return Round(burst.answered, single.answered)
