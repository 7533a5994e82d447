"""The command line as a whole: its commands, and the exit code for each way in which one ends."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from functools import partial

from cyclopts import App, CycloptsError, Parameter

from tunnel.cli.deferred_module import defer
from tunnel.cli.exit_codes import FAILED, INTERRUPTED, USAGE, exit_of, leaves_of
from tunnel.cli.pasted_invite import without_pasted
from tunnel.cli.settings_file import read_settings
from tunnel.cli.standard_streams import mute_stdout, prepare_outputs
from tunnel.cli.usage_errors import usage_text
from tunnel.model.errors import TunnelError
from tunnel.model.safe_text import presentable

NAME = "p2ptunnel-trio"

_OUTPUT_LOST = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of writing to stdout: its reader has left, its disk is full, or its terminal is gone."""

COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("server", "tunnel.cli.server:server", "Run the server: rendezvous, STUN and relay."),
    ("invite", "tunnel.cli.invite:invite", "Make a network and print its invite, or print the invite of this node."),
    ("join", "tunnel.cli.join:join", "Keep an invite, so that `up` finds it."),
    (
        "leave",
        "tunnel.cli.join:leave",
        "Remove the network that this node is in from its state folder: the invite, the leased address, peer names.",
    ),
    ("up", "tunnel.cli.up:up", "Run this machine's node until told to stop."),
    ("down", "tunnel.cli.down:down", "End the node on this machine."),
    ("status", "tunnel.cli.status:status", "Show the node, its server link and its peers."),
    ("why", "tunnel.cli.why:why", "Say why a peer is reached as it is, and what you can do."),
    ("ping", "tunnel.cli.ping:ping", "Measure round trips to a peer through the tunnel."),
    (
        "forget",
        "tunnel.cli.forget:forget",
        "Release a peer's name, so that the next node that uses it keeps it: for a machine that was set up again.",
    ),
    (
        "netcheck",
        "tunnel.cli.netcheck:netcheck",
        "Check the NAT in front of this machine, with the node that runs here (`up`).",
    ),
    ("chart", "tunnel.cli.chart:chart", "Print a state chart of the program."),
    ("simulate", "tunnel.cli.simulate:simulate", "Run scenarios on a virtual internet, in virtual time."),
    ("prove", "tunnel.cli.prove:prove", "Explore every state that two nodes and their server can reach together."),
    (
        "demo",
        "tunnel.cli.demo:demo",
        "Show on this machine how it works: a server and two nodes, relay first, direct once proved.",
    ),
)
"""Name, function, one sentence. A function is loaded when it runs."""


def build_app() -> App:
    """The command line, not yet run."""
    app = App(
        name=NAME,
        help="A peer-to-peer tunnel: relay first, direct once proved, and it says why.",
        version=_version,
        backend="trio",
        default_parameter=Parameter(negative=(), show_default=_shown_default),
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
    )
    app.config = (partial(read_settings, app),)
    for name, path, sentence in COMMANDS:
        app.command(path, name=name, help=sentence)
    return app


def run(argv: Sequence[str]) -> int:
    """Run one command to its end. Every error becomes one line on stderr and an exit code."""
    prepare_outputs()
    defer("asyncio")
    app = build_app()
    try:
        result = app(argv, print_error=False, exit_on_error=False, verbose=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        _complain(usage_text(error, NAME, [name for name, _, _ in COMMANDS]), argv)
        return USAGE
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        return _report(error, argv)
    return result if isinstance(result, int) else 0


def _shown_default(value: object) -> str | None:
    """A default as the help shows it. Switches that are off and empty lists are not shown."""
    return None if value is None or value is False or value == () else str(value)


def _report(error: BaseException, argv: Sequence[str]) -> int:
    leaves = leaves_of(error)
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return INTERRUPTED
    lost = [leaf for leaf in leaves if isinstance(leaf, OSError) and leaf.errno in _OUTPUT_LOST and not leaf.filename]
    if len(lost) == len(leaves):
        mute_stdout()
        if not isinstance(lost[0], BrokenPipeError):
            _complain(f"the output cannot be written: {lost[0].strerror}", argv)
        return FAILED
    strangers = [leaf for leaf in leaves if not isinstance(leaf, TunnelError)]
    if strangers:
        import traceback

        _complain("".join(traceback.format_exception(error)).rstrip(), argv)
        _complain("this is a bug: please report the lines above", argv)
        return FAILED
    for text in dict.fromkeys(str(leaf) for leaf in leaves):
        _complain(text, argv)
    return exit_of(leaves[0])


def _complain(text: str, argv: Sequence[str]) -> None:
    typed = [word for word in argv if word not in (name for name, _, _ in COMMANDS)]
    print(f"{NAME}: {presentable(without_pasted(text, typed))}", file=sys.stderr, flush=True)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(NAME)
    except PackageNotFoundError:
        return "(not installed)"
