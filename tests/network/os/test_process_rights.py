"""Rights given up for good, each in a process of its own: what is given up here would be missing in all other tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import ctypes, resource
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print({name: status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")})
print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), "core", resource.getrlimit(resource.RLIMIT_CORE))
"""
TRY = """
import os, sys
from pathlib import Path
for path in sys.argv[1:]:
    try:
        Path(path).read_bytes() if path.startswith("/etc") else Path(path).write_bytes(b"x")
        print("done")
    except OSError as error:
        print(error.strerror)
try:
    os.posix_spawn("/bin/true", ["true"], {})
    print("done")
except OSError as error:
    print(error.strerror)
"""
DENIED = "Permission denied"


def run(code: str, *arguments: object) -> list[str]:
    argv = [
        sys.executable,
        "-c",
        f"from pathlib import Path\nfrom tunnel.network.os.process_rights import *\n{code}",
        *map(str, arguments),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_memory_is_guarded_from_debuggers_core_files_and_programs_that_gain_rights() -> None:
    assert run(f"print({{}})\n{SHOW}")[-1].startswith("dumpable 1")
    shown = run(f"guard_memory()\n{SHOW}")
    assert "'NoNewPrivs': '1'" in shown[0]
    assert shown[1] == "dumpable 0 core (0, 0)"


@pytest.mark.netlab
def test_no_capability_is_left_in_any_set_but_those_that_are_kept() -> None:
    assert "'CapEff': '0000000000000000'" not in run(SHOW)[0]  # we are root
    none = "0" * 16
    for keep, kept in (
        ("()", none),
        ("(CAP_NET_ADMIN,)", f"{1 << 12:016x}"),
        ("(CAP_NET_ADMIN, 38)", f"{1 << 38 | 1 << 12:016x}"),
    ):
        assert run(f"drop_capabilities({keep})\n{SHOW}") == [
            str({"CapInh": none, "CapPrm": kept, "CapEff": kept, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "0"}),
            "dumpable 0 core " + run(SHOW)[1].partition("core ")[2],
        ]


@pytest.mark.netlab
def test_threads_that_are_started_later_have_no_more() -> None:
    code = """
import threading
from pathlib import Path
drop_capabilities()
thread = threading.Thread(target=lambda: print(Path("/proc/thread-self/status").read_text()))
thread.start()
thread.join()
"""
    assert next(line for line in run(code) if line.startswith("CapPrm")).endswith("\t" + "0" * 16)


@pytest.mark.netlab
def test_root_becomes_nobody_for_good_and_who_is_not_root_stays_who_he_is() -> None:
    tell = "import os\nbecome_nobody()\nprint(os.getresuid(), os.getresgid(), os.getgroups())"
    assert run(tell) == [str((65534,) * 3) + " " + str((65534,) * 3) + " []"]
    assert run(f"import os\nos.setresuid(7, 7, 7)\n{tell}")[0].startswith(str((7,) * 3))


def test_no_file_is_opened_any_more_and_no_program_started(tmp_path: Path) -> None:
    """Landlock; a kernel without it would answer False."""
    (tmp_path / "secret").touch()
    told = run(f"guard_memory()\nprint(forbid_files())\n{TRY}", "/etc/hostname", tmp_path / "secret", tmp_path / "new")
    assert told == ["True", DENIED, DENIED, DENIED, DENIED]


def test_nothing_is_written_but_in_the_folders_that_are_named(tmp_path: Path) -> None:
    inside, outside = tmp_path / "state", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (inside / "old").touch()
    (outside / "old").touch()
    code = "\n".join(
        [
            "guard_memory()",
            f"print(forbid_writes([Path({str(inside)!r}), Path('/dev/null'), Path('/no/such/folder')]))",
            f"os.replace({str(inside / 'old')!r}, {str(inside / 'older')!r})",
            TRY,
        ]
    )
    places = [inside / "new", inside / "older", "/dev/null", "/etc/hostname", outside / "new", outside / "old"]
    assert run(code, *places) == ["True", *["done"] * 4, *[DENIED] * 3]
    assert (inside / "new").read_bytes() == b"x"
