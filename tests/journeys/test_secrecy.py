"""What an eavesdropper, the server's owner, and a neighbor on the machine get to see: nothing that is secret.

Each claim that something is nowhere stands beside one that the same search finds what is there.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.journeys.conftest import ONE_WAY, OpenLabPrograms

from tunnel.crypto.network_keys import open_invite
from tunnel.node.identity import KEY_FILE
from tunnel.verify.netlab import Capture, Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

MARKER = b"nobody reads me!"
TELLTALE = Path(__file__).with_name("telltale.py")
HOMES = {"desk": "home", "laptop": "office", "till": "bank"}
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is left when a desk has talked to a laptop (straight) and to a till (over the relay)."""

    lab_programs: LabPrograms
    network_id: bytes
    secrets: Mapping[str, bytes]
    links: tuple[Path, ...]
    """What every link of the lab carried, on both sides of each router."""
    tun: Path
    """What the desk's tunnel interface carried."""
    command_lines: bytes


@pytest.fixture(scope="module")
def evidence(open_lab_programs: OpenLabPrograms, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    kinds = {"home": Kind.PORT_PRESERVING, "office": Kind.DOUBLE, "bank": Kind.UDP_BLOCKED}
    lab, lab_programs = open_lab_programs(
        *(SiteSpec(name, kind, delay=ONE_WAY) for name, kind in kinds.items()), server_options=["--log-level", "debug"]
    )
    folder = tmp_path_factory.mktemp("captures")
    invite, keys = open_invite(lab_programs.make_invite().read_text())
    with ExitStack() as stack:
        captures = [stack.enter_context(capture) for capture in capture_all_links(lab, folder)]
        for name, site in HOMES.items():
            leaking = [sys.executable, str(TELLTALE), str(folder / f"{name}.keys")]
            lab_programs.start_node(lab.sites[site].host, name, "--log-level", "debug", command=leaking)
        lab_programs.wait_ready(*HOMES)
        desk = lab_programs.nodes["desk"]
        tun = stack.enter_context(Capture(desk.host.namespace, [desk.tun], folder / "tun"))
        for peer in ("laptop", "till"):
            pings = lab_programs.start_ping("desk", peer, count=20, interval=0.1, pattern=MARKER).finish()
            assert len(pings.answers) == 20
        lab_programs.wait_direct("desk", "laptop")
        relayed = lab_programs.wait_state("desk", "till", "relayed")
        assert relayed["path"]["kind"] == "relay-websocket"
        secrets = {
            "the network's secret": invite.secret,
            "the network's private key": keys.private_key,
            "the announcement key": keys.announcement_key,
            "the pre-shared key": keys.psk,
        }
        for name in HOMES:
            secrets[f"{name}'s static key"] = (lab_programs.state(name) / KEY_FILE).read_bytes()
            leaked = (folder / f"{name}.keys").read_text().split()
            assert len(leaked) >= 6  # those for probes to two peers, and those of one session, in both directions
            secrets |= {f"key {number} that {name} used": bytes.fromhex(key) for number, key in enumerate(leaked)}
        command_lines = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, check=True).stdout
    links = tuple(file for capture in captures for file in capture.files.values())
    return Evidence(lab_programs, keys.network_id.raw, secrets, links, tun.files[desk.tun], command_lines)


def capture_all_links(lab: Lab, folder: Path) -> Iterator[Capture]:
    """Those at the internet, and those behind each router."""
    yield lab.capture(folder / "internet")
    for site in lab.sites.values():
        for router in site.routers:
            yield Capture(router, ["lan"], folder / router)


def spellings(secret: bytes) -> tuple[bytes, ...]:
    """The ways in which a secret might be written down."""
    return (secret, secret.hex().encode(), base64.b64encode(secret)[:-3], base64.urlsafe_b64encode(secret)[:-3])


def found_in(content: bytes, secrets: Mapping[str, bytes]) -> set[str]:
    """The names of the secrets that are there, in whatever spelling."""
    return {name for name, secret in secrets.items() if any(text in content for text in spellings(secret))}


def found_in_memory(process: int, secrets: Mapping[str, bytes]) -> set[str]:
    """The same for all that a process can read."""
    found: set[str] = set()
    overlap = 2 * max(len(secret) for secret in secrets.values())
    with Path(f"/proc/{process}/maps").open() as maps, Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            addresses, permissions = line.split()[:2]
            if "r" not in permissions:
                continue
            begin, end = (int(address, 16) for address in addresses.split("-"))
            for offset in range(begin, end, CHUNK):
                try:
                    content = os.pread(memory.fileno(), min(CHUNK + overlap, end - offset), offset)
                except OSError:  # pages of the kernel's own
                    continue
                found |= found_in(content, secrets)
    return found


def test_no_link_carries_what_is_in_the_tunnel(evidence: Evidence) -> None:
    assert MARKER in evidence.tun.read_bytes()
    assert len(evidence.links) == 8
    for link in evidence.links:
        content = link.read_bytes()
        assert len(content) > 10_000, f"{link} saw hardly anything"
        assert MARKER not in content, f"{link} shows the inner packets"


def test_no_link_carries_a_secret(evidence: Evidence) -> None:
    for link in evidence.links:
        assert found_in(link.read_bytes(), evidence.secrets) == set(), link


def test_the_servers_memory_holds_no_secret_and_no_packet(evidence: Evidence) -> None:
    server = evidence.lab_programs.server
    assert server is not None
    known = {"the network's id": evidence.network_id}
    wanted = {**known, **evidence.secrets, "the marker": MARKER}
    assert found_in_memory(server.pid, wanted) == set(known)


def test_a_nodes_memory_holds_what_the_search_looks_for(evidence: Evidence) -> None:
    """The control of the test above."""
    desk = evidence.lab_programs.nodes["desk"].process
    found = found_in_memory(desk.pid, evidence.secrets)
    assert "the pre-shared key" in found
    assert any("that desk used" in name for name in found)


def test_the_servers_files_hold_no_secret(evidence: Evidence) -> None:
    files = [file for file in evidence.lab_programs.state("server").iterdir() if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    assert evidence.network_id in content
    assert found_in(content, {**evidence.secrets, "the marker": MARKER}) == set()


def test_no_log_holds_a_secret(evidence: Evidence) -> None:
    for name in ("server", *HOMES):
        log = evidence.lab_programs.log(name)
        assert " debug " in log
        assert found_in(log.encode(), evidence.secrets) == set(), name


def test_no_command_line_holds_a_secret(evidence: Evidence) -> None:
    assert evidence.command_lines.count(b"--invite-file") >= len(HOMES)
    assert found_in(evidence.command_lines, evidence.secrets) == set()
    invite = evidence.lab_programs.make_invite().read_bytes().strip()
    assert invite not in evidence.command_lines
