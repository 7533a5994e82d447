"""Why there is no namespace of our own: the error alone does not say it, so the system is asked."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tunnel.network.os.namespace_remedies import apparmor_profile, why_not

LIMIT, CLONE = "sys/user/max_user_namespaces", "sys/kernel/unprivileged_userns_clone"
APPARMOR = "sys/kernel/apparmor_restrict_unprivileged_userns"
SECCOMP = "self/status"


@pytest.mark.parametrize(
    ("number", "files", "remedy"),
    [
        (errno.ENOSPC, {}, "`sysctl -w user.max_user_namespaces=10000"),
        (errno.EPERM, {LIMIT: "0"}, "`sysctl -w user.max_user_namespaces=10000"),
        (errno.EPERM, {CLONE: "0", APPARMOR: "0"}, "`sysctl -w kernel.unprivileged_userns_clone=1`"),
        (errno.EACCES, {CLONE: "1", APPARMOR: "1"}, "packaging/apparmor/p2ptunnel-trio"),
        (errno.EPERM, {SECCOMP: "Name:\tx\nSeccomp:\t2\n"}, "as Docker's default does: give the container a TUN"),
        (errno.EPERM, {SECCOMP: "Name:\tx\nSeccomp:\t0\n", LIMIT: "96365"}, "forbidden here (Operation not permitted)"),
        (errno.EINVAL, {}, "no user namespaces (CONFIG_USER_NS)"),
    ],
)
@pytest.mark.parametrize("step", ["unshare", "map"])
def test_whoever_forbids_user_namespaces_is_named(
    step: str, number: int, files: dict[str, str], remedy: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert remedy in why_not(step, number, "/dev/net/tun", tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "load the module (`modprobe tun`), or give the container the device (`--device /dev/net/tun`)"),
        (errno.ENODEV, "load the module"),
        (errno.EACCES, "`chmod 0666 /dev/net/tun` as root, as udev does"),
        (errno.EPERM, "give it the device (`--device /dev/net/tun`)"),
        (errno.EMFILE, "cannot be opened: Too many open files"),
    ],
)
def test_a_device_that_cannot_be_opened_has_its_remedy(number: int, remedy: str) -> None:
    assert remedy in why_not("tun", number, "/dev/net/tun")


def test_the_profile_that_is_named_lets_the_program_have_user_namespaces() -> None:
    lines = [line.strip() for line in apparmor_profile().read_text().splitlines()]
    assert "userns," in lines
    assert "profile p2ptunnel-trio /{usr/,usr/local/,opt/*/}bin/p2ptunnel-trio flags=(unconfined) {" in lines
