"""Recording of links with tcpdump."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tunnel.model.errors import DeviceError
from tunnel.verify.netlab.namespaces import command_in

_DRAIN_PATIENCE = 1.0  # seconds that a tcpdump gets to write what it has seen


class Capture:
    """One tcpdump a link; close it (or use it as a context manager) before the files are read."""

    def __init__(self, namespace: str, links: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = {link: folder / f"{link}.pcap" for link in links}
        """The file of each link."""

        self._recorders: list[subprocess.Popen[bytes]] = []
        for link, file in self.files.items():
            argv = ["tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-i", link, "-w", str(file)]
            recorder = subprocess.Popen(command_in(namespace, argv), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self._recorders.append(recorder)
        for recorder in self._recorders:
            assert recorder.stderr is not None
            heard = b""
            while b"listening on" not in heard:
                line = recorder.stderr.readline()
                if not line:
                    self.close()
                    raise DeviceError(f"tcpdump did not start: {heard.decode(errors='replace').strip()}")
                heard += line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop recording; every packet until now is in its file. Idempotent."""
        patience_ends = time.monotonic() + _DRAIN_PATIENCE
        for recorder in self._recorders:
            while not _sleeps(recorder.pid) and time.monotonic() < patience_ends:
                time.sleep(0.001)
            recorder.terminate()
        for recorder in self._recorders:
            assert recorder.stderr is not None
            recorder.stderr.close()
            recorder.wait()
        self._recorders.clear()


def _sleeps(pid: int) -> bool:
    """Whether a process is waiting. A packet wakes tcpdump on arrival: if it sleeps, it has read everything."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] in "SZ"
