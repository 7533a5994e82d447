"""Modules that are loaded when something in them is first used.

python-statemachine imports asyncio for an engine that this program never runs: a megabyte, and a tenth of the time that
a command takes to start. (importlib.util.LazyLoader loads a module when it is imported again, before Python 3.12.)
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def defer(name: str) -> None:
    """Load this module when something in it is first used. Nothing happens if it is there."""
    sys.modules.setdefault(name, _DeferredModule(name))


class _DeferredModule(ModuleType):
    """Whoever imported it keeps it, and finds everything in the real module."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute != "__path__":  # somebody looks at all modules that there are
            raise AttributeError(attribute)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)
