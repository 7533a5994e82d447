"""The system's own `ping` on a host of a lab, and what its answers show: loss, delay, holes."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from threading import Condition, Thread

from tunnel.model.errors import Unreachable

_ANSWER = re.compile(r"\[([\d.]+)\] \d+ bytes from .* icmp_seq=(\d+) .*time=([\d.]+) ms")
_SENT = re.compile(r"(\d+) packets transmitted")


@dataclass(frozen=True, slots=True)
class Answer:
    """The first answer to one ping."""

    sequence: int
    """From 1."""
    at: float
    """Unix time of its arrival."""
    rtt: float
    """Seconds."""

    @property
    def asked(self) -> float:
        """Unix time of the ping that it answers."""
        return self.at - self.rtt


@dataclass(frozen=True, slots=True)
class Pings:
    """What one run of `ping` saw. `ended` is the Unix time of its end."""

    sent: int
    answers: tuple[Answer, ...]
    """In order of arrival."""
    ended: float

    @property
    def lost(self) -> tuple[int, ...]:
        """The pings that were never answered, except the last: a run that is stopped does not wait for it."""
        answered = {answer.sequence for answer in self.answers}
        return tuple(sequence for sequence in range(1, self.sent) if sequence not in answered)

    @property
    def first(self) -> Answer | None:
        """The answer to the first ping."""
        return next((answer for answer in self.answers if answer.sequence == 1), None)

    @property
    def longest_hole(self) -> float:
        """Seconds between two answers, or between the last one and the end."""
        moments = [*(answer.at for answer in self.answers), self.ended]
        return max(later - earlier for earlier, later in pairwise(moments))


class Pinging:
    """A running `ping -D`, whose output is read as it comes. Either `finish` it (with a count) or `stop` it, once."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._answers: dict[int, Answer] = {}
        self._sent = 0
        self._heard = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_answer(self, asked_after: float = 0.0, *, patience: float = 10.0) -> Answer:
        """The answer to a ping that left after this Unix time, as soon as there is one. Raises Unreachable."""

        def find() -> Answer | None:
            return next((answer for answer in self._answers.values() if answer.asked >= asked_after), None)

        with self._heard:
            found = self._heard.wait_for(find, patience)
        if found is None:
            raise Unreachable(f"no ping was answered within {patience:g} s")
        return found

    def finish(self) -> Pings:
        """Wait until it ends by itself."""
        self._process.wait()
        ended = time.time()
        self._reader.join()
        return Pings(self._sent, tuple(self._answers.values()), ended)

    def stop(self) -> Pings:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        return self.finish()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace")
                if answer := _ANSWER.match(text):
                    at, sequence, milliseconds = answer.groups()
                    with self._heard:
                        self._answers.setdefault(
                            int(sequence), Answer(int(sequence), float(at), float(milliseconds) / 1000)
                        )
                        self._heard.notify_all()
                elif sent := _SENT.match(text):
                    self._sent = int(sent[1])
