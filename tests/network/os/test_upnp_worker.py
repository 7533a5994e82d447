"""The UPnP worker process: its user, its rights, and how it ends."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.network.igd_double import IgdDouble, open_igd

import tunnel
from tunnel.network.os import upnp_client
from tunnel.network.os.upnp_client import UpnpWorkerClient

SOON = 10.0


@pytest.fixture
def process() -> Iterator[UpnpWorkerClient]:
    made = UpnpWorkerClient()
    yield made
    made.close()


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def request(igd: IgdDouble, path: str) -> bytes:
    return json.dumps({"word": "unmap", "url": igd.url(path), "arguments": {"external_port": 1}}).encode()


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)  # another process, which tells nobody


@pytest.mark.upnp
@pytest.mark.netlab
def test_it_and_its_calls_are_nobody_with_no_right_no_environment_and_no_file_of_ours(
    process: UpnpWorkerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway, or who speaks in its name, may break miniupnpc: there is nothing to be had there."""
    monkeypatch.setenv("SECRET", "nobody reads me")
    with open_igd() as igd, (tmp_path / "state").open("w"):
        heard: list[bool] = []
        asking = threading.Thread(target=process.run, args=(request(igd, "/drip"), lambda: bool(heard)))
        asking.start()
        wait_until(lambda: bool(process._pid and children_of(process._pid)))
        for pid in (process._pid, *children_of(process._pid)):
            status = status_of(pid)
            assert status["Uid"] == status["Gid"] == ["65534"] * 4
            assert status["Groups"] == []
            assert status["NoNewPrivs"] == ["1"]
            assert {name: status[name] for name in status if name.startswith("Cap")} == {
                name: ["0" * 16] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
            }
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"SECRET" not in environment
            assert [entry for entry in environment.split(b"\0") if entry and not entry.startswith(b"LC_CTYPE=")] == []
            links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
            assert {link.partition(":")[0] for link in links} <= {"socket", "pipe", "/dev/null"}
        heard.append(True)
        asking.join(SOON + upnp_client.PATIENCE)
        assert not asking.is_alive()


def test_it_keeps_no_descriptor_that_the_node_inherited(process: UpnpWorkerClient) -> None:
    """Whoever started the node may wait for the end of a pipe, or hold a lock by an open file."""
    reading, handed_on = os.pipe()
    os.set_inheritable(handed_on, True)
    process.start()
    os.close(handed_on)
    assert select.select([reading], [], [], SOON)[0]
    os.close(reading)


@pytest.mark.upnp
def test_a_call_ends_with_its_patience_though_nobody_ends_it(process: UpnpWorkerClient) -> None:
    """miniupnpc waits as long as a byte comes now and then."""
    channel = process.start()
    with open_igd() as igd:
        channel.send(b"0.5\n" + request(igd, "/drip"))
        assert select.select([channel], [], [], SOON)[0]
        assert channel.recv(100) == b"{}"
    assert children_of(process._pid) == []


@pytest.mark.upnp
def test_it_ends_with_the_node_when_what_is_under_way_has_ended(process: UpnpWorkerClient) -> None:
    """As when the node was killed meanwhile."""
    channel, pid = process.start(), process._pid
    with open_igd() as igd:
        channel.send(b"0.5\n" + request(igd, "/drip"))
        wait_until(lambda: bool(children_of(pid)))
        process.close()
        wait_until(lambda: status_of(pid)["State"][0] == "Z")
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.upnp
def test_a_word_that_comes_too_late_disturbs_no_later_call(process: UpnpWorkerClient) -> None:
    channel = process.start()
    channel.send(b"abandoned")
    with open_igd() as igd:
        answer = json.loads(process.run(request(igd, "/nothing"), lambda: False))
    assert "no UPnP gateway answers" in answer["failed"]


def test_it_is_started_again_where_it_has_ended(process: UpnpWorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = process.start()
    assert process.start() is first
    first.shutdown(socket.SHUT_RDWR)
    assert process.run(b"{}", lambda: False) == b""
    assert process.start() is not first


def test_it_loads_little() -> None:
    """It is there as long as the node: each library that it does not need would take memory all that time."""
    program = f"import sys; sys.path.append({str(Path(tunnel.__file__).parents[1])!r})"
    argv = [sys.executable, "-I", "-S", "-c", f"{program}; import tunnel.network.os.upnp_worker; print(*sys.modules)"]
    loaded = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert "json" in loaded
    assert not {"ipaddress", "pathlib", "site", "socket", "trio", "typing"} & set(loaded)


@pytest.mark.upnp
def test_no_module_of_the_working_directory_is_run(
    process: UpnpWorkerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit")
    (tmp_path / "miniupnpc.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    with open_igd() as igd:
        assert "no UPnP gateway answers" in json.loads(process.run(request(igd, "/nothing"), lambda: False))["failed"]
