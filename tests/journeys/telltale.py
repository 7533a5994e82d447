"""The real program with a leak: `telltale.py FILE ARGUMENT...` writes into FILE every key that seals or opens.

So a test knows the keys of sessions and probes, which nothing else tells, and can look for them where they must not be.
"""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnel.cli import main
from tunnel.crypto import sealing


def leak_keys(path: str) -> None:
    """From now on."""
    make_cipher = sealing._cipher
    leak = open(path, "a", buffering=1)  # noqa: SIM115 - open for life: the program will write nowhere but to its folders

    def tell(key: bytes) -> AESGCM:
        leak.write(f"{key.hex()}\n")
        return make_cipher(key)

    sealing._cipher = tell


if __name__ == "__main__":
    leak_keys(sys.argv.pop(1))
    main()
