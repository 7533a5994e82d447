"""Logs of the long-running commands: one line an event on stderr, `TIME LEVEL LOGGER text key=value ...`.

Loggers pass their facts as `extra={...}`; these become the keys. Everything is made printable, invites are cut out.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal, TextIO

from tunnel.cli.text import presentable, printable, without_secrets

Level = Literal["debug", "info", "warning", "error"]

_OWN_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """A record as one line; a traceback follows it, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, fit for a terminal."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        facts = "".join(
            f" {key}={_value(value)}" for key, value in sorted(vars(record).items()) if key not in _OWN_KEYS
        )
        text = printable(without_secrets(record.getMessage()))
        line = f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {text}{facts}"
        if record.exc_info:
            trace = presentable(self.formatException(record.exc_info))
            line += "".join(f"\n    {part}" for part in trace.split("\n"))
        return line


def start_logging(level: Level, stream: TextIO | None = None) -> None:
    """Send the logs of the whole process to a stream, stderr by default; replaces what was set before."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _value(value: object) -> str:
    text = without_secrets(str(value))
    if text.isprintable() and text and not set(text) & set(' "='):
        return text
    escaped = printable(text.replace("\\", "\\\\")).replace('"', '\\"')
    return f'"{escaped}"'
