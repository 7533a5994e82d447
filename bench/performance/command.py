"""The command: what to measure, then tables, and the page if asked for. `-h` lists the options."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.performance.goals import text_goals
from bench.performance.page import PAGE, write_page
from bench.performance.peers import PEERS, Ours, Peer, WireguardGo
from bench.performance.results import Results, join_results, read_results, write_results
from bench.performance.runs import Plan, run_rounds
from bench.performance.tables import TABLES, text_table

import bench.performance
from bench.performance.figures import LONG, NAMES, OWN, PLAIN, Loss, ManyPairs, Udp, udp_buffer
from tunnel.model.errors import DeviceError, SettingsError
from tunnel.verify.netlab.namespaces import check_privilege

INTERRUPTED = 130
"""The exit code after SIGINT and SIGTERM."""

_TOOLS = ("ip", "nft", "ss", "ping", "ethtool", "iperf3")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or read, print, write; 1 if a figure failed, INTERRUPTED if not all was measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        peers = [*PEERS, *options.wireguard_go, *options.variant]
        if options.list:
            return _list(peers)
        results = join_results([read_results(path) for path in options.read]) if options.read else _run(options, peers)
        _print(results)
        if options.write:
            write_page(options.docs, results)
    except (DeviceError, SettingsError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1 if results.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.performance",
        description=bench.performance.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=_names, default=NAMES, metavar="FIGURES", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--peers", type=_names, metavar="NAMES", help="only these; see --list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each single run")
    parser.add_argument(
        "--wireguard-go", type=_wireguard, action="append", default=[], metavar="NAME=PATH",
        help="another binary, called wireguard-go-NAME",
    )  # fmt: skip
    parser.add_argument(
        "--variant", type=_variant, action="append", default=[], metavar="NAME=OPTIONS[ / OPTIONS]",
        help="ours-NAME, with options of `up` for both ends, or for one and the other; a first word @PYTHON runs the"
        " nodes by another checkout's Python",
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, default=50, help="of many-pairs")
    parser.add_argument("--congestion", metavar="NAME", help="congestion control of the streams under loss")
    parser.add_argument("--results", type=Path, default=Path("performance.json"), help="where raw values are kept")
    parser.add_argument("--read", type=Path, nargs="+", metavar="RESULTS", help="measure nothing: show earlier runs")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} and its plots too")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder of that page")
    parser.add_argument("--list", action="store_true", help="show figures and peers")
    return parser


def _run(options: argparse.Namespace, known: Sequence[Peer]) -> Results:
    check_privilege(_TOOLS)
    unknown = set(options.only) - set(NAMES)
    if unknown:
        raise SettingsError(f"no figure is called {', '.join(sorted(unknown))}: see --list")
    peers = _chosen(options, known)
    streams = ("-C", options.congestion) if options.congestion else ()
    plan = Plan(
        peers,
        [figure for figure in PLAIN if figure.name in options.only],
        [replace(figure, options=streams) if isinstance(figure, Loss) else figure for figure in LONG
         if figure.name in options.only],
        [replace(figure, pairs=options.pairs) if isinstance(figure, ManyPairs) else figure for figure in OWN
         if figure.name in options.only],
        options.rounds,
        options.seconds,
    )  # fmt: skip
    results = Results(_conditions(options, peers))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no namespace is left behind
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_rounds(plan, results, Path(folder), lambda: write_results(options.results, results))
        except KeyboardInterrupt:
            print("interrupted: what was measured is kept", file=sys.stderr)
            _print(results)
            raise
    return results


def _chosen(options: argparse.Namespace, known: Sequence[Peer]) -> list[Peer]:
    """The peers that are named, or all that are installed."""
    by_name = {peer.name: peer for peer in known}
    if options.peers is None:
        for peer in known:
            if (missing := peer.missing()) is not None:
                print(f"without {peer.name}: `{missing}` is not installed", file=sys.stderr)
        return [peer for peer in known if peer.missing() is None]
    chosen = []
    for name in options.peers:
        if name not in by_name:
            raise SettingsError(f"no peer is called {name}: see --list")
        if (missing := by_name[name].missing()) is not None:
            raise SettingsError(f"{name} needs `{missing}`, which is not installed")
        chosen.append(by_name[name])
    return chosen


def _conditions(options: argparse.Namespace, peers: Sequence[Peer]) -> dict[str, Any]:
    """What a reader must know to repeat a run. Nothing that names the machine."""
    conditions = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "kernel": "Linux " + ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "versions": {peer.name: peer.version() for peer in peers},
    }
    measured = {type(figure) for figure in (*PLAIN, *LONG) if figure.name in options.only}
    if Loss in measured and options.congestion:
        conditions["loss_congestion"] = options.congestion
    if Udp in measured:
        conditions["udp_buffer"] = udp_buffer()
    return conditions


def _print(results: Results) -> None:
    for text in (*(text_table(results, table) for table in TABLES), text_goals(results)):
        if text:
            print(f"\n{text}")
    for failure in results.failures:
        print(f"failed: round {failure.round}, {failure.peer}, {failure.figure}: {failure.reason}")


def _list(peers: Sequence[Peer]) -> int:
    print("figures:", *NAMES)
    for peer in peers:
        missing = peer.missing()
        print(f"{peer.name:<22}{peer.version() if missing is None else f'needs `{missing}`'}")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _wireguard(text: str) -> WireguardGo:
    name, found, path = text.partition("=")
    if not found or shutil.which(path) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH of a program")
    return WireguardGo(f"wireguard-go-{name}", path)


def _variant(text: str) -> Ours:
    name, _, rest = text.partition("=")
    home, _, office = rest.partition(" / ")
    words, other_words = shlex.split(home), shlex.split(office or home)
    python = Ours().python
    if words and words[0].startswith("@"):
        python = words.pop(0)[1:]
        other_words = other_words if office else words
    path = "relay-websocket" if "--no-udp" in words else "relay-udp" if "--relay-only" in words else "direct"
    return Ours(f"ours-{name}", path, tuple(words), tuple(other_words), python=python)
