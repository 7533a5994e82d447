"""What the user can do where a port or a device is not available: the floors below know no options."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tunnel.cli.exit_codes import leaves_of
from tunnel.model.errors import DeviceError
from tunnel.network.os.tun_descriptor import NO_PRIVILEGE


@contextmanager
def adding_remedies(options: Mapping[str, str]) -> Iterator[None]:
    """Add to each DeviceError of the block what the user can do. `options`: the option for each "UDP 0.0.0.0:53"."""
    try:
        yield
    except BaseException as error:
        for leaf in leaves_of(error):
            if isinstance(leaf, DeviceError):
                leaf.args = (_with_remedy(leaf, options),)
        raise


def _with_remedy(error: DeviceError, options: Mapping[str, str]) -> str:
    text = str(error)
    if text.endswith(NO_PRIVILEGE):
        return text.removesuffix(NO_PRIVILEGE) + privilege_remedy()
    port = next((port for port in options if text.startswith(f"{port} ")), None)
    number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    if port is None:
        return text
    match number:
        case errno.EADDRINUSE:
            return f"{port} is taken by another program: choose another port with {options[port]}, or 0 for a free one"
        case errno.EACCES:
            return (
                f"no right to use {port}: ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                f"or choose a higher one with {options[port]}"
            )
        case _:
            return f"{text} ({options[port]})"


def privilege_remedy() -> str:
    """How to get a TUN interface, or to do without one. The way that grants most rights comes last."""
    return (
        "run it as root (sudo), or use --userspace, which needs no privilege; or "
        f"`setcap cap_net_admin+ep {Path(sys.executable).resolve()}`, but then every program that this Python runs "
        "may change the network of this machine"
    )
