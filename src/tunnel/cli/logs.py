"""Logs of the long-running commands: one line an event on stderr, `TIME LEVEL LOGGER text key=value ...`.

Loggers pass their facts as `extra={...}`, which become the keys. Everything is made printable, and invites are cut out.
`peer` holds a node id and is shown as that peer's name; at debug the id is shown too.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

from tunnel.cli.log_rate_limit import LogRateLimit
from tunnel.model.safe_text import presentable, printable, without_secrets

Level = Literal["debug", "info", "warning", "error"]

_OWN_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PIECE = 4096
"""Bytes that a pipe takes all or none of (PIPE_BUF)."""


class PeerNames:
    """The names of peers by their ids, known once a node runs."""

    def __init__(self) -> None:
        self._lookup: Callable[[str], str] = lambda _: ""

    def use(self, lookup: Callable[[str], str]) -> None:
        """Look names up with this function, which returns an empty one for an unknown id."""
        self._lookup = lookup

    def __call__(self, node: str) -> str:
        """The name, or an empty text."""
        return self._lookup(node)


class LineFormatter(logging.Formatter):
    """A record as one line; a traceback follows it, indented."""

    def __init__(self, names: Callable[[str], str] = lambda _: "", *, shows_ids: bool = False) -> None:
        super().__init__()
        self._names = names
        self._shows_ids = shows_ids

    def format(self, record: logging.LogRecord) -> str:
        """The whole line, fit for a terminal."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        found = {key: value for key, value in sorted(vars(record).items()) if key not in _OWN_KEYS}
        if "peer" in found:
            found |= self._peer(str(found.pop("peer")), record.getMessage())
        facts = "".join(f" {key}={_value(value)}" for key, value in found.items())
        text = printable(without_secrets(record.getMessage()))
        line = f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {text}{facts}"
        if record.exc_info:
            trace = presentable(self.formatException(record.exc_info))
            line += "".join(f"\n    {part}" for part in trace.split("\n"))
        return line

    def _peer(self, node: str, text: str) -> dict[str, str]:
        """The peer's name, unless the text begins with it; its id where it has no name."""
        name = self._names(node)
        if not name:
            return {"peer": node}
        named = {} if text.startswith(f"{name} ") else {"peer": name}
        return {**named, "id": node} if self._shows_ids else named


class LossyHandler(logging.Handler):
    """Writes to a descriptor what it takes at once. Lines that nobody reads are dropped and counted.

    Otherwise a terminal that was stopped with Ctrl-S, or a pipe whose reader sleeps, would stop the node.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, after a note if lines before it were dropped."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        if self._dropped:
            line = f"({self._dropped} lines of this log were dropped, since nobody read them)\n{line}"
        try:
            is_written = self._write(line.encode(self._encoding, "backslashreplace"))
        except OSError:  # its reader, its disk or its terminal is gone: the node goes on
            return
        self._dropped = 0 if is_written else self._dropped + 1

    def _write(self, line: bytes) -> bool:
        """Write what fits. Returns whether that is anything."""
        for offset in range(0, len(line), _PIECE):
            _, ready, _ = select.select((), (self._descriptor,), (), 0)
            if not ready:
                return offset > 0
            try:
                os.write(self._descriptor, line[offset : offset + _PIECE])
            except BlockingIOError:
                return offset > 0
        return True


def start_logging(
    level: Level,
    stream: TextIO | None = None,
    *,
    names: Callable[[str], str] = lambda _: "",
    libraries: bool = False,
) -> None:
    """Send the logs of the whole process to a stream, stderr by default; replaces what was set before.

    `level` is that of our own loggers. Libraries log from `warning` on, unless `libraries` is set. Each kind of line
    has a rate limit (log_rate_limit.py).
    """
    handler = logging.StreamHandler(stream) if stream is not None else _stderr()
    handler.setFormatter(LineFormatter(names, shows_ids=level == "debug"))
    ours = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=ours if libraries else max(ours, logging.WARNING), handlers=[LogRateLimit(handler)], force=True
    )
    logging.getLogger("tunnel").setLevel(ours)


def _stderr() -> logging.Handler:
    try:
        return LossyHandler(sys.stderr.fileno(), sys.stderr.encoding or "utf-8")
    except OSError:  # no file behind it
        return logging.StreamHandler(sys.stderr)


def _value(value: object) -> str:
    text = without_secrets(str(value))
    if text.isprintable() and text and not set(text) & set(' "='):
        return text
    escaped = printable(text.replace("\\", "\\\\")).replace('"', '\\"')
    return f'"{escaped}"'
