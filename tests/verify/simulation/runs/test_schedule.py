"""Equal seeds give equal runs, to the byte of their traces: in one process, in others, whatever hashes strings have."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.schedule import run_seeded
from tunnel.verify.simulation.scenarios.library import scenario_files
from tunnel.verify.simulation.scenarios.scenario_file import read_scenario

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

FEW = ("easy_pair", "pair_sequential", "loss_asymmetric", "kill_and_return", "gateway_upnp")
RUN = """
import sys
from pathlib import Path

from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.scenario_file import read_scenario
for name in sys.argv[1:]:
    print(run_scenario(read_scenario(Path(name)), 7).digest)
"""
CHECKOUT = Path(__file__).parents[4]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def files_of(names: tuple[str, ...]) -> list[Path]:
    return [file for file in scenario_files([]) if file.stem in names]


def digests(python: str, hash_seed: str) -> list[str]:
    """Of the few scenarios, by another process."""
    command = [python, "-c", RUN, *map(str, files_of(FEW))]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def pythons() -> dict[str, str]:
    """By version: this one, those that `make pythons` set up, others here that have what the package needs."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for version in VERSIONS:
        for other in (CHECKOUT / f".venv-{version}" / "bin" / "python", shutil.which(f"python{version}")):
            if version not in found and other is not None and Path(other).exists():
                probe = subprocess.run([other, "-c", "import tunnel.verify.simulation.runs.run"], capture_output=True)
                if probe.returncode == 0:
                    found[version] = str(other)
    return found


@pytest.mark.parametrize("file", files_of(FEW), ids=lambda file: file.stem)
def test_the_same_seed_gives_the_same_run(file: Path) -> None:
    scenario = read_scenario(file)
    one, other = run_scenario(scenario, 3), run_scenario(scenario, 3)
    assert one == other


@pytest.mark.parametrize("file", files_of(FEW), ids=lambda file: file.stem)
def test_another_seed_gives_another_run(file: Path) -> None:
    scenario = read_scenario(file)
    assert len({run_scenario(scenario, seed).digest for seed in range(3)}) == 3


@pytest.mark.parametrize("python", [pytest.param(python, id=version) for version, python in pythons().items()])
def test_other_processes_and_other_hashes_give_the_same_runs(python: str) -> None:
    here = [run_scenario(read_scenario(file), 7).digest for file in files_of(FEW)]
    assert digests(python, "1") == here
    assert digests(python, "4242") == here


async def order_of_ten() -> list[int]:
    """In which order do tasks run that all wake at once?"""
    order: list[int] = []

    async def note(number: int) -> None:
        await trio.sleep(1.0)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(note, number)
    return order


def test_a_seed_is_a_schedule() -> None:
    orders = {tuple(run_seeded(order_of_ten, seed)) for seed in range(8)}
    assert len(orders) > 4
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert run_seeded(order_of_ten, 5) == run_seeded(order_of_ten, 5)


def test_nothing_of_trio_is_left_changed() -> None:
    from trio._core import _run

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    run_seeded(order_of_ten, 1)
    assert (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()) == before


def test_time_stands_still_while_anybody_works_and_jumps_when_nobody_does() -> None:
    async def look() -> list[float]:
        times = [trio.current_time()]
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        times.append(trio.current_time())
        await trio.sleep(3600.0)
        times.append(trio.current_time())
        return times

    assert run_seeded(look, 0) == [0.0, 0.0, 3600.0]


def test_chance_that_is_not_of_the_seed_is_not_touched() -> None:
    random.seed(1)
    before = random.getstate()
    run_scenario(read_scenario(files_of(("easy_pair",))[0]), 0)
    assert random.getstate() == before
