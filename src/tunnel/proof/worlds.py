"""The worlds in which everything is proved, and the small ones in which mutants are looked at."""

from __future__ import annotations

from tunnel.proof.rules import World

WORLDS = (
    World("links break, the server stops", is_link_breaking=True, is_server_stopping=True),
    World("paths die, the server stops", is_path_changing=True, is_server_stopping=True),
    World("processes restart, paths die", is_restarting=True, is_path_changing=True),
    World("addresses change, the server stops", is_moving=True, is_server_stopping=True),
    World("two words in flight, links break", room=2, is_link_breaking=True),
    World(
        "relay only, everything happens",
        is_direct_allowed=False,
        is_restarting=True,
        is_moving=True,
        is_link_breaking=True,
        is_server_stopping=True,
    ),
)
"""Each is explored whole."""

SMALL_WORLDS = (
    World("nothing happens"),
    World("relay only, the server stops", is_direct_allowed=False, is_server_stopping=True),
    World("relay only, addresses change", is_direct_allowed=False, is_moving=True),
    World("relay only, processes restart", is_direct_allowed=False, is_restarting=True),
    World("paths die", is_path_changing=True),
    World("no path, the server stops", has_path=False, is_server_stopping=True),
    World("processes restart", is_restarting=True),
    World("addresses change", is_moving=True),
    World("the server stops", is_server_stopping=True),
)
"""One after the other, until one shows what the mutant breaks."""
