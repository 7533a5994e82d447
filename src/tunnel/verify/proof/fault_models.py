"""The fault models under which everything is proved, and the small ones under which mutants are judged."""

from __future__ import annotations

from tunnel.verify.proof.rules import FaultModel

FAULT_MODELS = (
    FaultModel("processes restart, links break", is_restarting=True, is_link_breaking=True),
    FaultModel("links break, the server stops", is_link_breaking=True, is_server_stopping=True),
    FaultModel(
        "relay only, everything happens",
        is_direct_allowed=False,
        is_restarting=True,
        is_moving=True,
        is_link_breaking=True,
        is_server_stopping=True,
    ),
    FaultModel("paths die, the server stops", is_path_changing=True, is_server_stopping=True),
    FaultModel("addresses change, the server stops", is_moving=True, is_server_stopping=True),
    FaultModel("restarts, dying paths, two words in flight", room=2, is_restarting=True, is_path_changing=True),
)
"""Each is explored completely. The largest comes first, so that no core waits for it at the end."""

SMALL_FAULT_MODELS = (
    FaultModel("nothing happens"),
    FaultModel("processes restart", is_restarting=True),
    FaultModel("relay only, processes restart", is_direct_allowed=False, is_restarting=True),
    FaultModel("relay only, the server stops", is_direct_allowed=False, is_server_stopping=True),
    FaultModel("no path, the server stops", has_path=False, is_server_stopping=True),
    FaultModel("paths die", is_path_changing=True),
    FaultModel("relay only, addresses change", is_direct_allowed=False, is_moving=True),
    FaultModel("the server stops", is_server_stopping=True),
)
"""Tried one after the other, until a property breaks. Those that show most mutants soonest come first."""
