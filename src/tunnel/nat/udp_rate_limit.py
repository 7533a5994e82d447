"""Whether something on the way limits the rate of our UDP datagrams, as a protection against floods does.

    a burst of requests at once  ---> most are lost
    single ones, a while apart   ---> nearly all are answered
    the same again               ---> the same again

Either half alone may be a lossy line or a busy server. Both together, twice, are a limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.nat.stun_client import StunClient, StunSocket

ROUNDS = 2
BURST = 12
SINGLES = 5
APART = 0.25
"""Seconds between two single requests."""
PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """How many of each were answered."""

    burst: int
    singles: int

    @property
    def is_rate_limited(self) -> bool:
        """At most a third of the burst was answered, and at least all but one of the others."""
        return 3 * self.burst <= BURST and self.singles >= SINGLES - 1


async def is_rate_limited(stun_client: StunClient, server: Endpoint) -> bool:
    """Test it: 34 packets and 5 s at most. Raises DeviceError when no socket can be had."""
    stun_socket = await stun_client.open_socket(is_ipv6=server.is_ipv6)
    for _ in range(ROUNDS):
        if not (await _try(stun_client, stun_socket, server)).is_rate_limited:
            return False
    return True


async def _try(stun_client: StunClient, stun_socket: StunSocket, server: Endpoint) -> Round:
    burst = stun_socket.request(server)
    for _ in range(BURST):
        burst.send()
    await stun_client.wait(lambda: burst.answered == BURST, PATIENCE)
    single = stun_socket.request(server)
    for _ in range(SINGLES):
        await trio.sleep(APART)
        single.send()
    await stun_client.wait(lambda: single.answered == SINGLES, PATIENCE)
    return Round(burst.answered, single.answered)
