"""The weathers in which everything is proved, and the small ones in which mutants are looked at."""

from __future__ import annotations

from tunnel.verify.proof.rules import Weather

WEATHERS = (
    Weather("processes restart, links break", is_restarting=True, is_link_breaking=True),
    Weather("links break, the server stops", is_link_breaking=True, is_server_stopping=True),
    Weather(
        "relay only, everything happens",
        is_direct_allowed=False,
        is_restarting=True,
        is_moving=True,
        is_link_breaking=True,
        is_server_stopping=True,
    ),
    Weather("paths die, the server stops", is_path_changing=True, is_server_stopping=True),
    Weather("addresses change, the server stops", is_moving=True, is_server_stopping=True),
    Weather("restarts, dying paths, two words in flight", room=2, is_restarting=True, is_path_changing=True),
)
"""Each is explored whole. The largest comes first, so that no core waits for it at the end."""

SMALL_WEATHERS = (
    Weather("nothing happens"),
    Weather("processes restart", is_restarting=True),
    Weather("relay only, processes restart", is_direct_allowed=False, is_restarting=True),
    Weather("relay only, the server stops", is_direct_allowed=False, is_server_stopping=True),
    Weather("no path, the server stops", has_path=False, is_server_stopping=True),
    Weather("paths die", is_path_changing=True),
    Weather("relay only, addresses change", is_direct_allowed=False, is_moving=True),
    Weather("the server stops", is_server_stopping=True),
)
"""One after the other, until one shows what the mutant breaks: those that show most of it soonest come first."""
