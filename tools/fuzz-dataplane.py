"""fuzz-dataplane.py [SECONDS]: hostile bytes into the data plane, led by coverage (atheris, libFuzzer).

It begins with the seeds in tests/fuzz/seeds.txt, which the tests replay, and adds what reaches more. What breaks an
assertion ends the run and is printed; add its line to that file when it is mended. `make fuzz` installs atheris.
"""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
SEEDS = ROOT / "tests" / "fuzz" / "seeds.txt"
WORK = ROOT / ".venv" / "fuzz"
CORPUS, FAILURES = WORK / "corpus", WORK / "failures"
ROOMS = ("tunnel.dataplane", "tunnel.riders", "tunnel.wire", "tunnel.crypto.sealing", "tunnel.crypto.replay_window")
MAX_BYTES = 1024
"""Of a seed. Longer ones reach no more, and are hard to read."""


def main(seconds: int) -> int:
    """Fuzz, and keep what is worth it. The exit code is 1 if something broke."""
    for folder in (CORPUS, FAILURES):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
    known = [bytes.fromhex(line) for line in SEEDS.read_text().split()] if SEEDS.exists() else []
    for number, seed in enumerate(known):
        (CORPUS / f"seed-{number}").write_bytes(seed)
    options = [
        "-seed=1",
        "-len_control=10",
        f"-max_len={MAX_BYTES}",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={FAILURES}/",
    ]
    fuzzing = [sys.executable, __file__, "--run", *options, "-print_final_stats=1", str(CORPUS)]
    subprocess.run(fuzzing, cwd=ROOT, check=False)  # noqa: S603 # libFuzzer ends its process
    failures = [path.read_bytes() for path in sorted(FAILURES.iterdir())]
    for seed in failures:
        print(f"fuzz-dataplane: broke on\n{seed.hex()}")
    found = [path.read_bytes() for path in CORPUS.iterdir()]
    kept = _worth_keeping(known, sorted(set(found) - set(known), key=lambda seed: (len(seed), seed)))
    SEEDS.write_text("".join(f"{seed.hex()}\n" for seed in kept))
    print(f"fuzz-dataplane: {len(found)} in the corpus; {len(kept)} seeds are kept, {len(kept) - len(known)} new")
    return 1 if failures else 0


def _worth_keeping(known: list[bytes], found: list[bytes]) -> list[bytes]:
    """Those that were kept before, and those that go from a line to a line as none before them."""
    run, reached, kept = _target(), set[tuple[Any, int, int]](), list[bytes]()
    for seed in (*known, *found):
        steps = _steps_of(run, seed)
        if len(kept) < len(known) or not steps <= reached:
            kept.append(seed)
            reached |= steps
    return kept


def _steps_of(run: Any, seed: bytes) -> set[tuple[Any, int, int]]:
    steps = set[tuple[Any, int, int]]()
    before: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not str(frame.f_globals.get("__name__", "")).startswith(ROOMS):
            return None
        if event == "line":
            steps.add((frame.f_code, before.get(frame, 0), frame.f_lineno))
            before[frame] = frame.f_lineno
        elif event == "return":
            before.pop(frame, None)
        return trace

    sys.settrace(trace)
    try:
        run(seed)
    finally:
        sys.settrace(None)
    return steps


def _target() -> Any:
    tests = types.ModuleType("tests")  # a package that we install brings a `tests` of its own
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = tests
    from tests.fuzz.dataplane_target import run

    return run


def _fuzz() -> None:
    sys.path.append(str(WORK))
    import atheris  # only `make fuzz` installs it

    with atheris.instrument_imports(include=list(ROOMS)):
        run = _target()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        _fuzz()
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 600))
