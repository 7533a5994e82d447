"""A blocking client for a node's control socket (docs/control.md), without a new process for each request.

A Unix socket is found by its path, whatever network namespace its owner is in. The product's client needs Trio; this
one is for tests and benches, which block anyway.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tunnel.model.errors import Unreachable

_PATIENCE = 10.0
_REFRESH = 0.2  # the shortest interval that a node accepts: other changes than a peer's state are seen so late


def ask_node(control: Path, word: str, **details: str) -> Any:
    """The result of one request. Raises Unreachable when no node answers, or with the error that it answered."""
    with _asked(control, {"do": word, **details}, _PATIENCE) as answers:
        return _read(answers)


def watch_node(control: Path, patience: float) -> Iterator[dict[str, Any]]:
    """The node's status at once, after each change of a peer, and every 0.2 s, for `patience` seconds.

    Raises Unreachable when no node answers, or no longer.
    """
    ends = time.monotonic() + patience
    with _asked(control, {"do": "watch", "every": _REFRESH}, patience) as answers:
        while time.monotonic() < ends:
            yield _read(answers)["status"]


@contextmanager
def _asked(control: Path, request: dict[str, Any], patience: float) -> Iterator[BinaryIO]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(str(control))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                yield answers
        except OSError as error:
            raise Unreachable(f"no node answers at {control}: {error}") from None


def _read(answers: BinaryIO) -> Any:
    line = answers.readline()
    if not line:
        raise Unreachable("the node hung up")
    answer = json.loads(line)
    if not answer["ok"]:
        raise Unreachable(f"the node answered {answer['code']}: {answer['error']}")
    return answer["result"]
