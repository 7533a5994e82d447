"""What programs on a lab's host find in /etc, apart from the machine's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunnel.verify.netlab import Host


@contextmanager
def etc_file(host: Host, name: str, text: str) -> Iterator[Path]:
    """The file of this name, for programs that start meanwhile: it may be written anew under them."""
    folder = Path("/etc/netns") / host.namespace
    folder.mkdir(parents=True)
    try:
        (folder / name).write_text(text)
        yield folder / name
    finally:
        shutil.rmtree(folder)
