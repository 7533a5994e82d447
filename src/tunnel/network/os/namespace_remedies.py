"""Why this machine gives an ordinary user no network namespace with a TUN, and what can be done about it.

Whoever forbids it answers with much the same error, so what the system says of itself is looked at too.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_SYSTEM = Path("/proc")


def why_not(step: str, number: int, clone_device: str, system: Path = _SYSTEM) -> str:
    """The reason, and the remedy after a colon. `step`: unshare, map, tun or join; `system`: where /proc is."""
    match step:
        case "unshare" | "map":
            return _why_no_namespace(number, system)
        case "tun":
            return _why_no_tun(number, clone_device)
        case _:
            return os.strerror(number)


def apparmor_profile() -> Path:
    """Our profile for AppArmor: with an installed program in its folder, else at the top of the source."""
    installed = _PACKAGE / "packaging"
    folder = installed if installed.is_dir() else _PACKAGE.parents[1] / "packaging"
    return folder / "apparmor" / "p2ptunnel-trio"


def _why_no_namespace(number: int, system: Path) -> str:
    kernel = system / "sys/kernel"
    if number == errno.ENOSPC or _read(system / "sys/user/max_user_namespaces") == "0":
        return (
            "the kernel's limit of namespaces is reached: as root, "
            "`sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000`"
        )
    if number in (errno.EINVAL, errno.ENOSYS):
        return "this kernel has no user namespaces (CONFIG_USER_NS): run as root, or use --userspace=python"
    if _read(kernel / "unprivileged_userns_clone") == "0":
        return (
            "user namespaces are for root only here: as root, `sysctl -w kernel.unprivileged_userns_clone=1`, "
            "and the same in /etc/sysctl.d to keep it"
        )
    if _read(kernel / "apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor allows it only to programs that have a profile (Ubuntu 23.10 and newer): install ours as it says "
            f"itself, {apparmor_profile()}"
        )
    if _has_seccomp(system):
        return (
            "a filter of system calls forbids it, as Docker's default does: give the container a TUN of its own "
            "(`--cap-add NET_ADMIN --device /dev/net/tun`), or let it have user namespaces (`--security-opt "
            "seccomp=unconfined --device /dev/net/tun`; in a systemd service, no RestrictNamespaces=)"
        )
    return f"user namespaces are forbidden here ({os.strerror(number)}): run as root, or use --userspace=python"


def _why_no_tun(number: int, clone_device: str) -> str:
    match number:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return (
                f"there is no {clone_device}: load the module (`modprobe tun`), or give the container the device "
                f"(`--device {clone_device}`)"
            )
        case errno.EACCES:
            return f"{clone_device} may not be opened: `chmod 0666 {clone_device}` as root, as udev does"
        case errno.EPERM:
            return f"this container may not use {clone_device}: give it the device (`--device {clone_device}`)"
        case _:
            return f"{clone_device} cannot be opened: {os.strerror(number)}"


def _has_seccomp(system: Path) -> bool:
    return any(line.split() == ["Seccomp:", "2"] for line in _read(system / "self/status").splitlines())


def _read(file: Path) -> str:
    """Empty if there is no such file, or if it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
