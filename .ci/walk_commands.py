"""Run the commands of an installed wheel in an empty folder, as a user would. Argument: the path of the command.

Each of `examples/*.py` runs too: its arguments are a file with an invite and a peer's name. The demo on kernel NATs
needs root: without it, it is left out with a message.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND = sys.argv[1]
PATIENCE = 30.0
DEMO_PATIENCE = 70.0
HERE = Path.cwd()


def call(*argv: str, code: int = 0, stdin: str = "", patience: float = PATIENCE) -> str:
    """Run one command to its end. Returns what it printed."""
    ended = subprocess.run([COMMAND, *argv], input=stdin, capture_output=True, text=True, timeout=patience, check=False)
    if ended.returncode != code:
        sys.exit(f"{argv} ended with {ended.returncode}, not {code}\n{ended.stdout}\n{ended.stderr}")
    print("ok", *argv)
    return ended.stdout


def start(*argv: str) -> subprocess.Popen[str]:
    """Start one that keeps running."""
    process = subprocess.Popen([COMMAND, *argv], stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)  # if we fail; harmless for one that has ended
    return process


def stop(process: subprocess.Popen[str], name: str) -> None:
    """End it by SIGTERM, which must be a clean end."""
    process.send_signal(signal.SIGTERM)
    if (code := process.wait(PATIENCE)) != 0:
        sys.exit(f"{name} ended with {code} on SIGTERM")
    print("ok", name, "ends on SIGTERM")


def wait_status(control: str, wanted: str, judge: Any) -> None:
    """Wait until `status --json` is as wanted."""
    deadline = time.monotonic() + PATIENCE
    said = ""
    while time.monotonic() < deadline:
        ended = subprocess.run(
            [COMMAND, "status", "--json", "--control", control], capture_output=True, text=True, check=False
        )
        said = ended.stdout + ended.stderr
        if ended.returncode == 0 and judge(json.loads(ended.stdout)):
            print("ok status:", wanted)
            return
        time.sleep(0.1)
    sys.exit(f"status never became: {wanted}\n{said}")


def walk() -> None:
    """Server, two nodes, and every command."""
    call("--version")
    call("--help")
    for name in ("peer_connection", "announcement", "server_link", "port_mapping", "session", "introduction"):
        for form in ("mermaid", "table", "scxml"):
            if not call("chart", name, "--format", form).strip():
                sys.exit(f"chart {name} is empty")
    call("up", "--nmae", "x", code=2)
    run = json.loads(
        call("simulate", "easy_pair", "--seed", "3", "--json", "--diagram", "easy.md", "--trace", "easy.txt")
    )
    if run["failed"] or "sequenceDiagram" not in Path("easy.md").read_text() or not Path("easy.txt").read_text():
        sys.exit("simulate easy_pair: a failure, or no diagram, or no trace")
    call("simulate", "--storm", "1..2", patience=DEMO_PATIENCE)
    call("simulate", "nowhere.toml", code=2)
    call("prove", "--help")
    call("join", "--state", "s", code=2, stdin="p2pt1-damaged")

    server = start("server", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--udp", "127.0.0.1:0",
                   "--http", "127.0.0.1:0", "--state", "server")  # fmt: skip
    assert server.stdout is not None
    ready = server.stdout.readline().split()
    if len(ready) != 3 or ready[0] != "ready":
        sys.exit(f"the server's ready line is {ready}")
    print("ok server")
    invite = call("invite", "--server", ready[1], "--pin", ready[2], "--network", "walk")

    nodes = {}
    for name in ("desk", "laptop"):
        call("join", "--state", name, stdin=invite)
        if call("invite", "--state", name) != invite:
            sys.exit("the kept invite is another one")
        mode = (HERE / name / "invite").stat().st_mode & 0o777
        if mode != 0o600:
            sys.exit(f"the kept invite has mode {mode:o}")
        nodes[name] = start("up", "--userspace", "--no-default-stun", "--name", name, "--state", name)

    desk = str(HERE / "desk" / "control.sock")
    wait_status(desk, "registered", lambda status: status["server"]["state"] == "registered")
    wait_status(desk, "the laptop is known", lambda status: [p["name"] for p in status["peers"]] == ["laptop"])
    call("ping", "laptop", "--control", desk, "--interval", "0.1")
    wait_status(desk, "connected", lambda status: status["peers"][0]["state"] == "connected")
    call("status", "--control", desk)
    call("why", "laptop", "--control", desk)
    call("why", "nobody", "--control", desk, code=1)
    if json.loads(call("netcheck", "--json", "--control", desk))["version"] != 1:
        sys.exit("netcheck has no version")
    call("netcheck", "--control", desk)
    (HERE / "invite.txt").write_text(invite)
    examples = sorted((HERE / "examples").glob("*.py"))
    if not examples:
        sys.exit("there is no example to run")
    for example in examples:
        subprocess.run([sys.executable, str(example), "invite.txt", "laptop"], check=True, timeout=PATIENCE)
        print("ok", example.name)
    call("down", "--state", "laptop")
    if (code := nodes["laptop"].wait(PATIENCE)) != 0:
        sys.exit(f"up of laptop ended with {code} on `down`")
    call("leave", "--state", "laptop", code=2)  # nobody can be asked
    call("leave", "--state", "laptop", "--yes")
    call("forget", "laptop", "--control", desk)
    stop(nodes["desk"], "up of desk")
    stop(server, "server")
    call("demo", patience=DEMO_PATIENCE)
    if os.geteuid() == 0:
        call("demo", "--netns", patience=DEMO_PATIENCE)
    else:
        print("LEFT OUT: demo --netns: not root")


walk()
