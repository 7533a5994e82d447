"""A lab as a whole: it is isolated, it is removed, and it says what it cannot do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tunnel.model.errors import DeviceError, SettingsError
from tunnel.verify.netlab import Kind, Lab, SiteSpec, namespaces, sweep
from tunnel.verify.netlab.ledger import Entry

NAMED = Path("/run/netns")


def namespaces_of(lab_id: str) -> list[str]:
    return sorted(path.name for path in NAMED.glob(f"p2pt-{lab_id}-*"))


def is_running(pid: int) -> bool:
    """A zombie that waits for whoever adopted it does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.netlab
def test_labs_live_side_by_side_with_the_same_addresses() -> None:
    with Lab() as one, Lab() as other:
        for lab in (one, other):
            lab.add_site("home", Kind.PUBLIC)
            lab.run(lab.server, ["ping", "-c", "1", "-W", "5", lab.sites["home"].wan])
        assert one.id != other.id
        assert one.counters()["home"].received.packets == 1


@pytest.mark.netlab
def test_a_closed_lab_leaves_nothing_behind(tmp_path: Path) -> None:
    with Lab(SiteSpec("home", Kind.DOUBLE, delay=5), SiteSpec("office", hosts=2), state=tmp_path) as lab:
        program = lab.popen(lab.sites["home"].host, ["sleep", "60"])
        stray = subprocess.Popen(lab.command(lab.sites["office"].host, ["sleep", "60"]))
        built = namespaces_of(lab.id)
    assert [name.split("-", 2)[2] for name in built] == [
        "home",
        "home-nat1",
        "home-nat2",
        "internet",
        "office",
        "office-2",
        "office-nat1",
        "server",
        "wires",
    ]
    assert namespaces_of(lab.id) == []
    assert list(tmp_path.glob("*.json")) == []
    assert program.returncode == -signal.SIGTERM
    assert stray.wait(5) == -signal.SIGKILL


@pytest.mark.netlab
def test_a_program_that_ignores_sigterm_is_killed() -> None:
    with Lab() as lab:
        argv = ["sh", "-c", "trap '' TERM; echo ready; while true; do sleep 1; done"]
        program = lab.popen(lab.server, argv, stdout=subprocess.PIPE)
        assert program.stdout is not None
        with program.stdout:
            assert program.stdout.readline() == b"ready\n"
    assert program.returncode == -signal.SIGKILL


@pytest.mark.netlab
def test_closing_twice_is_closing_once() -> None:
    lab = Lab()
    lab.close()
    lab.close()
    assert namespaces_of(lab.id) == []


@pytest.mark.netlab
def test_a_lab_whose_owner_was_killed_is_swept_by_the_next_start(tmp_path: Path) -> None:
    """Namespaces, the programs in them and the delay box all go; the lab of a running owner stays."""
    program = (
        "import pathlib, sys, time\n"
        "from tunnel.verify.netlab import Lab, SiteSpec\n"
        "lab = Lab(SiteSpec('home', delay=5), state=pathlib.Path(sys.argv[1]))\n"
        "sleeper = lab.popen(lab.sites['home'].host, ['sleep', '60'])\n"
        "print(lab.id, sleeper.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with Lab(state=tmp_path) as runner:
        with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            dead, sleeper = owner.stdout.readline().decode().split()
            owner.kill()
        assert len(namespaces_of(dead)) == 5
        assert is_running(int(sleeper))
        with Lab(state=tmp_path):
            assert namespaces_of(dead) == []
            assert len(namespaces_of(runner.id)) == 2
        assert not is_running(int(sleeper))
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.netlab
def test_a_lab_whose_owner_was_killed_while_building_is_swept_too(tmp_path: Path) -> None:
    """The record is written before the first namespace is made, so a half-built lab is known."""
    program = (
        "import pathlib, sys, time\n"
        "import tunnel.verify.netlab.lab as module\n"
        "def hang(scripts):\n"
        "    print(min(scripts), flush=True)\n"
        "    time.sleep(60)\n"
        "module.run_scripts = hang\n"
        "module.Lab(state=pathlib.Path(sys.argv[1]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        half_built = owner.stdout.readline().decode().strip().split("-")[1]
        owner.kill()
    assert len(namespaces_of(half_built)) == 2
    assert sweep(tmp_path) == [half_built]
    assert namespaces_of(half_built) == []


@pytest.mark.netlab
def test_a_lab_that_cannot_be_finished_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise DeviceError("no more")

    monkeypatch.setattr(Lab, "_start_boxes", fail)
    before = set(NAMED.glob("p2pt-*"))
    with pytest.raises(DeviceError, match="no more"):
        Lab(SiteSpec("home", delay=5), state=tmp_path)
    assert set(NAMED.glob("p2pt-*")) <= before
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.netlab
@pytest.mark.parametrize(
    "spec",
    [
        SiteSpec("Home"),
        SiteSpec("server"),
        SiteSpec("a" * 11),
        SiteSpec("home", Kind.PUBLIC, hosts=2),
        SiteSpec("home", hosts=0),
        SiteSpec("home", delay=-1),
        SiteSpec("home", lifetime=0),
        SiteSpec("home", Kind.SYMMETRIC, hairpin=True),
        SiteSpec("home", Kind.FIREWALL, hairpin=True),
        SiteSpec("taken"),
    ],
)
def test_a_site_that_cannot_be_is_refused_before_anything_is_made(spec: SiteSpec) -> None:
    with Lab(SiteSpec("taken")) as lab:
        before = namespaces_of(lab.id)
        with pytest.raises(SettingsError, match=f"site.*{spec.name}"):
            lab.add_sites([SiteSpec("fine"), spec])
        assert namespaces_of(lab.id) == before
        assert list(lab.sites) == ["taken"]


@pytest.mark.netlab
def test_a_tunnel_on_a_host_may_have_an_ipv6_address() -> None:
    """The links have none unless asked for, which must not reach what a program makes later."""
    with Lab(SiteSpec("home")) as lab:
        host = lab.sites["home"].host
        assert "inet6" not in lab.run(host, ["ip", "addr", "show", "dev", "eth0"])
        lab.run(host, ["ip", "tuntap", "add", "tunnel0", "mode", "tun"])
        lab.run(host, ["ip", "addr", "add", "fd00::1/64", "dev", "tunnel0"])
        assert "fd00::1" in lab.run(host, ["ip", "addr", "show", "dev", "tunnel0"])


def test_a_command_that_does_not_end_is_killed_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One program that waits for ever must not keep a whole run of tests waiting."""
    monkeypatch.setattr(namespaces, "PATIENCE", 0.1)
    with pytest.raises(DeviceError, match=r"`sleep 1000` did not end within 0.1 s"):
        namespaces.run(["sleep", "1000"])


@pytest.mark.netlab
def test_a_failing_command_tells_what_it_complained_of() -> None:
    with Lab() as lab, pytest.raises(DeviceError, match="nowhere"):
        lab.run(lab.server, ["ip", "link", "show", "nowhere"])


def test_without_root_a_lab_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DeviceError, match="run it as root"):
        Lab()


def test_without_its_tools_a_lab_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="install iproute2"):
        Lab()


def test_a_reused_process_id_is_no_owner(tmp_path: Path) -> None:
    """Only the id together with the start time is an owner."""
    entry = Entry(tmp_path)
    assert sweep(tmp_path) == []
    path = tmp_path / f"{entry.id}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "started": content["started"] + 1}))
    assert sweep(tmp_path) == [entry.id]
    assert not path.exists()
