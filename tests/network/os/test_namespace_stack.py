"""A kernel stack of our own: what the process that holds it may do, what its end costs, and why there may be none."""

from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from tests.network.os.wire import KERNEL, MTU, NAMESPACE, wired

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceDenied, DeviceError
from tunnel.model.offload import TUN_OFFLOADS, Offload
from tunnel.network.os.namespace_stack import NamespaceDevice, NamespaceDevices
from tunnel.network.os.tun_devices import RealDevices
from tunnel.network.os.tun_link import HELPER

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
pytestmark = pytest.mark.netlab

NET_ADMIN = f"{1 << 12:016x}"


async def open_device(name: str = "p2ptest0") -> NamespaceDevice:
    return await NamespaceDevices().open_device(name, MTU, NAMESPACE, ())


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def is_running(pid: int) -> bool:
    try:
        return not status_of(pid)["State"].startswith("Z")
    except FileNotFoundError:
        return False


def interfaces_of(pid: int) -> str:
    """What `ip` says in its network namespace."""
    argv = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-br", "address"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def child_of(device: NamespaceDevice) -> int:
    return device.namespace.pid


async def test_it_has_all_offloads_and_is_in_no_network_of_this_machine() -> None:
    device = await open_device()
    assert device.offloads == TUN_OFFLOADS
    assert "p2ptest0" not in os.listdir("/sys/class/net")
    seen = interfaces_of(child_of(device))
    assert {line.split()[0] for line in seen.splitlines()} == {"lo", "p2ptest0"}
    assert all(address in seen for address in (*NAMESPACE, "127.0.0.1/8"))
    device.close()
    without = NamespaceDevices(without=frozenset({Offload.TUN_HEADER}))
    plain = await without.open_device("p2ptest0", MTU, (), ())
    assert plain.offloads == frozenset()
    plain.close()


async def test_its_process_has_one_right_over_its_own_namespace_no_file_and_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "nobody reads me")
    inheritable = os.dup2(2, 77, inheritable=True)
    device = await open_device()
    os.close(inheritable)
    pid = child_of(device)
    (await device.sockets.open_listener(Endpoint("0.0.0.0", 0))).close()  # so it has begun to serve
    status = status_of(pid)
    sets = {each: status[each] for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    none = "0" * 16
    assert sets == {"CapInh": none, "CapPrm": NET_ADMIN, "CapEff": NET_ADMIN, "CapBnd": none, "CapAmb": none}
    assert status["NoNewPrivs"] == "1"
    assert status["Threads"] == "1"
    for kind in ("user", "net"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    links = [os.readlink(f"/proc/{pid}/fd/{number}").partition(":")[0] for number in os.listdir(f"/proc/{pid}/fd")]
    assert sorted(links) == ["/dev/null", "/dev/null", "socket"]
    assert "SECRET" not in environment_of(pid)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    device.close()
    assert not is_running(pid)


def test_it_ends_with_this_process_however_that_ends() -> None:
    code = (
        "import trio\n"
        "from tunnel.network.os.namespace_stack import NamespaceDevices\n"
        "async def main():\n"
        "    device = await NamespaceDevices().open_device('p2ptest0', 1400, (), ())\n"
        "    print(device.namespace.pid, flush=True)\n"
        "    await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        with open(os.pidfd_open(child), "rb") as ending:
            process.kill()
            process.wait()
            assert select.select([ending], [], [], 10)[0]


def test_when_its_process_is_killed_connections_go_on_and_another_one_makes_sockets(run_isolated: Isolated) -> None:
    async def main() -> None:
        kernel = await RealDevices().open_device("p2ptest0", MTU, KERNEL, ())
        namespace = await open_device()
        async with wired(kernel, namespace):
            listener = await namespace.sockets.open_listener(Endpoint("0.0.0.0", 80))
            ours = await kernel.sockets.open_stream(Endpoint("10.86.0.2", 80))
            theirs, _ = await listener.accept()
            former = child_of(namespace)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def notice() -> None:
                    assert await namespace.link.wait_disturbed() == (HELPER,)

                await trio.testing.wait_all_tasks_blocked()
                os.kill(former, signal.SIGKILL)
            with pytest.raises(DeviceError, match="the process that makes sockets in the network namespace has ended"):
                await namespace.sockets.open_listener(Endpoint("0.0.0.0", 0))
            await ours.send_all(b"still here")
            assert await theirs.receive_some() == b"still here"
            namespace.link.restore()
            assert namespace.link.missing() == ()
            assert child_of(namespace) not in (0, former)
            again = await namespace.sockets.open_listener(Endpoint("0.0.0.0", 81))
            more = await kernel.sockets.open_stream(Endpoint("10.86.0.2", 81))
            accepted, _ = await again.accept()
            await accepted.aclose()
            os.kill(child_of(namespace), signal.SIGKILL)
            with trio.fail_after(5):
                await namespace.namespace.wait_ended()
            namespace.link.readdress(("10.86.7.7/16",), ())
            assert child_of(namespace) not in (0, former)
            assert namespace.link.missing() == ()
            await more.aclose()
        kernel.close()
        namespace.close()

    run_isolated(main)


def test_a_process_that_hangs_is_ended_and_replaced(run_isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        device = await open_device()
        os.kill(child_of(device), signal.SIGSTOP)
        with pytest.raises(DeviceError, match="has ended"):
            await device.sockets.open_listener(Endpoint("0.0.0.0", 0))
        assert device.link.missing() == (HELPER,)
        device.link.restore()
        await (await device.sockets.open_listener(Endpoint("0.0.0.0", 0))).aclose()
        device.close()

    monkeypatch.setattr("tunnel.network.os.namespace_client.PATIENCE", 0.2)
    run_isolated(main)


async def test_a_device_that_is_missing_is_told_with_the_remedy() -> None:
    with pytest.raises(DeviceDenied, match=r"there is no /dev/net/no-such: load the module \(`modprobe tun`\)"):
        await NamespaceDevices(clone_device="/dev/net/no-such").open_device("p2ptest0", MTU, (), ())


async def test_a_name_that_no_interface_can_have_is_told() -> None:
    with pytest.raises(DeviceError, match="cannot be used"):
        await open_device("lo")


OPENING = """
import trio
from tunnel.model.errors import DeviceError
from tunnel.network.os.namespace_stack import NamespaceDevices
async def main():
    try:
        (await NamespaceDevices().open_device("p2ptest0", 1400, ("10.86.0.2/16", "fd00:1::2/48"), ())).close()
        print("opened")
    except DeviceError as error:
        print(error)
trio.run(main)
"""


def opened_by(*argv: str) -> str:
    return subprocess.run([*argv, sys.executable, "-c", OPENING], check=True, capture_output=True, text=True).stdout


def test_a_process_without_any_right_may_have_one() -> None:
    """Root in a container may have no more than this, and not even be mapped into its own namespace."""
    assert opened_by("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all") == "opened\n"


def test_where_no_namespace_may_be_made_the_limit_is_named() -> None:
    """`user.max_user_namespaces=0`, in a user namespace so that this machine keeps its own."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    told = opened_by("unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, "sh")
    assert told.startswith("no network namespace of our own: the kernel's limit of namespaces is reached")
    assert "`sysctl -w user.max_user_namespaces=10000" in told


def test_where_a_filter_of_system_calls_forbids_it_the_filter_is_named(tmp_path: Path) -> None:
    """As Docker's default does."""
    script = tmp_path / "filtered.py"
    script.write_text(FILTERED)
    told = opened_by(sys.executable, str(script), str(UNSHARE[platform.machine()]))
    assert "a filter of system calls forbids it, as Docker's default does" in told
    assert "--device /dev/net/tun" in told


UNSHARE = {"x86_64": 272, "aarch64": 97}
FILTERED = """
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (LOAD, 0, 0, 0),
        (EQUAL, 0, 1, int(sys.argv[1])),
        (RETURN, 0, 0, 0x00050001),  # SECCOMP_RET_ERRNO, EPERM
        (RETURN, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
)
buffer = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
