"""A module that is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys

BEGIN = "import sys; from tunnel.cli.deferred_module import defer; defer('asyncio')"


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_loaded_at_the_first_use_and_stays_the_same_for_whoever_imported_it_before() -> None:
    program = f"""{BEGIN}
import asyncio as before
assert "asyncio.events" not in sys.modules
assert before.sleep.__module__ == "asyncio.tasks"
import asyncio as after
assert after is not before and after.sleep is before.sleep
"""
    assert run(program) == ""


def test_a_module_within_it_can_be_imported() -> None:
    assert run(f"{BEGIN}\nfrom asyncio.events import TimerHandle\nprint(TimerHandle.__name__)") == "TimerHandle"


def test_a_look_at_all_modules_loads_nothing() -> None:
    program = "all(hasattr(module, '__file__') for module in list(sys.modules.values()))"
    assert run(f"{BEGIN}\n{program}\nprint('asyncio.events' in sys.modules)") == "False"


def test_what_is_loaded_already_stays() -> None:
    assert run("import asyncio as before; " + BEGIN + "; import asyncio\nprint(asyncio is before)") == "True"


def test_what_a_node_runs_on_does_not_use_asyncio() -> None:
    loading = "import tunnel.embedding, tunnel.cli.up, tunnel.cli.command_line, tunnel.network.os.world"
    assert run(f"{BEGIN}\n{loading}\nprint('asyncio.events' in sys.modules)") == "False"
