"""What `up` gives up once its sockets and its interface are open: all capabilities but one, and most writing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tunnel.model.interface_kind import InterfaceKind
from tunnel.network.os.port_mapper import RealPortMapper
from tunnel.network.os.process_rights import (
    CAP_DAC_OVERRIDE,
    CAP_NET_ADMIN,
    drop_capabilities,
    forbid_writes,
    guard_memory,
)
from tunnel.network.os.tun_descriptor import CLONE_DEVICE
from tunnel.network.ports import PortMapper

_log = logging.getLogger(__name__)


class RealPrivileges:
    """Those of this process, which writes only into `folders` and maps ports by `port_mapper`, if it has one."""

    def __init__(self, folders: Sequence[Path], port_mapper: PortMapper | None) -> None:
        self._folders = folders
        self._port_mapper = port_mapper

    def lay_down(self, interface: InterfaceKind | None) -> None:
        """For good, and for all threads that start from now on.

        In a namespace of its own the process that makes sockets may have to be started again: that program alone may.
        """
        if isinstance(self._port_mapper, RealPortMapper):
            self._port_mapper.prepare()
        keep = {CAP_NET_ADMIN} if interface is InterfaceKind.KERNEL else set()
        foreign = [folder for folder in self._folders if os.geteuid() == 0 and _owner(folder) != 0]
        if foreign:
            keep.add(CAP_DAC_OVERRIDE)
            _log.warning(
                "%s is not root's: this process keeps the right to use everybody's files; "
                "`chown -R root` it, or run as its owner",
                foreign[0],
            )
        guard_memory()
        devices = [Path(os.devnull)]  # for discarded output
        if interface is InterfaceKind.KERNEL:
            devices.append(Path(CLONE_DEVICE))
        programs = _python_programs() if interface is InterfaceKind.NAMESPACE else ()
        is_confined = forbid_writes((*self._folders, *devices), programs)
        drop_capabilities(keep)
        _log.debug("privileges laid down kept=%s is_confined=%s", sorted(keep), is_confined)


def _owner(folder: Path) -> int:
    try:
        return folder.stat().st_uid
    except OSError:
        return 0


def _python_programs() -> tuple[Path, ...]:
    """The files that must be executable to start this Python: its program, and the loader of shared libraries."""
    mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    loaders = sorted(file for file in mapped if Path(file).name.startswith("ld-"))
    return (Path(sys.executable).resolve(), *map(Path, loaders))
