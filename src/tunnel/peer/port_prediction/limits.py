"""What one port prediction may cost: sockets, flows and packets. `peer/probe_budget.py` holds a node to it."""

from __future__ import annotations

PREDICTION_FLOWS = 1900
"""Of one attempt; the node may open 2,048 in all meanwhile."""
PREDICTION_PACKETS = 2 * PREDICTION_FLOWS
"""Of one attempt, those on flows that are open already among them."""
PREDICTION_SOCKETS = 240
"""Of one attempt; the node may have 256 open in all."""
SOCKET_RATE = 100.0
"""Sockets opened a second."""
PREDICTION_FLOW_RATE = 180.0
"""Flows opened a second; the rest of the node's rate is for its other peers."""
PREDICTION_REST = 20.0
"""Seconds from the end of an attempt that has opened many flows to the next one: routers forget slowly."""
FEW_FLOWS = 40
"""An attempt that opened no more needs no rest after it; the next ones may open so many fewer.

With the volleys of other punches that is fewer than a hundred at one address: only an attempt may open more.
"""
PREDICTION_HOST_BURST, PREDICTION_HOST_RATE = 4.0 * PREDICTION_PACKETS, 4.0 * PREDICTION_PACKETS / 3600.0
"""Packets of attempts toward one address, and one peer: so many at once, so many a second."""
PREDICTION_LEAST = 200.0
"""With fewer packets an attempt is not worth making."""
