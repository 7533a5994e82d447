"""What a running node has in memory: no library that only some commands or only a server need."""

from __future__ import annotations

import subprocess
import sys

UNUSED = ("cryptography.x509", "prometheus_client", "rich", "tunnel.server", "tunnel.verify")


def test_a_node_loads_no_library_that_it_does_not_need() -> None:
    """Each of them costs a megabyte or so. What a running node may come to need is loaded before it gives up the right
    to use all files: afterward root may not be able to read the environment that it was started from.
    """
    loading = "import sys, tunnel.cli.command_line, tunnel.cli.up, tunnel.embedding, tunnel.network.os.world"
    program = f"{loading}, tunnel.network.os.privileges; print(*(set({UNUSED}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []
