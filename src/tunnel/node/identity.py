"""Who this node is: a static key that it keeps, and an epoch that is new at each process start.

All keys between two nodes follow from both epochs, so a counter never repeats under a key. A copy of a running process
(a cloned machine) would repeat them all: `renew` makes it a new start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.errors import DeviceError
from tunnel.model.identity import EPOCH_BYTES
from tunnel.network.ports import Entropy, Store

KEY_FILE = "node.key"
KEY_BYTES = 32


@dataclass(slots=True)
class Identity:
    """The node's static keys and this process start. Only `renew` changes it."""

    keys: NodeKeys = field(repr=False)
    epoch: bytes

    def renew(self, entropy: Entropy) -> None:
        """Draw a new epoch: from now on this is another process start."""
        self.epoch = entropy.token(EPOCH_BYTES)


def load_identity(store: Store, entropy: Entropy) -> Identity:
    """With the key in the store, or a new one that is stored. Raises DeviceError, also for a damaged key file."""
    private = store.read(KEY_FILE)
    if private is None:
        private = entropy.token(KEY_BYTES)
        store.write(KEY_FILE, private)
    if len(private) != KEY_BYTES:
        raise DeviceError(f"the node key ({KEY_FILE}) is damaged: remove it, and this machine becomes a new node")
    return Identity(NodeKeys(private), entropy.token(EPOCH_BYTES))
