"""What `up` gives up once its sockets and its interface are open: all capabilities but one, and most writing."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

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

    def lay_down(self, *, keeps_interface: bool) -> None:
        """For good, and for all threads that start from now on."""
        if isinstance(self._port_mapper, RealPortMapper):
            self._port_mapper.prepare()
        keep = {CAP_NET_ADMIN} if keeps_interface else set()
        foreign = [folder for folder in self._folders if os.geteuid() == 0 and _owner(folder) != 0]
        if foreign:
            keep.add(CAP_DAC_OVERRIDE)
            _log.warning(
                "%s is not root's: this process keeps the right to use everybody's files; "
                "`chown -R root` it, or run as its owner",
                foreign[0],
            )
        guard_memory()
        devices = (Path(os.devnull), *([Path(CLONE_DEVICE)] if keeps_interface else ()))  # for discarded output
        is_confined = forbid_writes((*self._folders, *devices))
        drop_capabilities(keep)
        _log.debug("privileges laid down kept=%s is_confined=%s", sorted(keep), is_confined)


def _owner(folder: Path) -> int:
    try:
        return folder.stat().st_uid
    except OSError:
        return 0
