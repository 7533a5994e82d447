"""One call of the gateway's UPnP service (IGD), by miniupnpc, in a process of its own that ends with it
(upnp_worker.py).

    this process                             the gateway
      | --- GET the description ----------> |   at the URL that the node gave
      |     control URL elsewhere? refused  |
      | --- POST the request -------------> |   once for each port that is tried

miniupnpc blocks, keeps all that an HTTP server sends, however much, and follows a description anywhere. So this process
is limited to MAX_MEMORY, is ended by its own alarm when its patience is over, and posts only to the gateway. A call
that was abandoned maps nothing from then on, or takes its mapping back.

The one file that names miniupnpc. What it imports stays in memory as long as a node runs: little, and not Trio.

    request  {"word": map | unmap | holds, "url": the description's, "arguments": {...}}
    answer   {"said": ...} | {"refused": [code, text]} | {"failed": text}
"""

from __future__ import annotations

import json
import re
import resource
import signal
from collections.abc import Callable, Mapping

from tunnel.model.errors import Refused, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MEMORY = 64 << 20
"""Bytes of RLIMIT_DATA. Not RLIMIT_AS: the locale files that each Python maps are larger on some systems."""
MAX_LINE = 4096
"""Bytes of a request, and of an answer: what a pipe writes atomically."""
MAX_TEXT = 200
"""Characters of the reason that a gateway gives."""
TRIES = 4
"""External ports that are tried, from the wanted one upwards, when the gateway says that one is taken."""
LABEL = "p2ptunnel-trio"

_PERMANENT_ONLY = ("OnlyPermanentLeasesSupported", "Invalid Args")
"""UPnP error 725, and 402, by which some gateways mean it: ask again for a permanent mapping."""
_CONFLICTS = ("ConflictInMappingEntry", "ConflictWithOtherMechanisms")
"""UPnP errors 718 and 729: another port may be free."""
_URL = re.compile(r"http://([0-9.]{7,15})(?::[0-9]{1,5})?/[!-~]{0,1000}", re.ASCII)
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)

IsAbandoned = Callable[[], bool]


def is_installed() -> bool:
    """Whether this Python has miniupnpc, which has no ready build for 3.14 and newer."""
    return bool(folder())


def folder() -> str:
    """Where miniupnpc is installed; empty if it is not."""
    from importlib.util import find_spec

    try:
        spec = find_spec("miniupnpc")
    except ValueError:  # the import is blocked
        return ""
    return spec.origin.rpartition("/")[0] if spec is not None and spec.origin else ""


def host_of(url: str) -> str | None:
    """The numeric IPv4 host of a plain HTTP URL. None for anything else: names, user names, other schemes."""
    match = _URL.fullmatch(url)
    return match and match[1]


def run_call(request: bytes, is_abandoned: IsAbandoned) -> bytes:
    """The answer to a request. `is_abandoned`: whether the caller has stopped waiting."""
    try:
        asked = json.loads(request)
        answer = {"said": _do(asked["word"], _open_service(asked["url"]), is_abandoned, asked["arguments"])}
    except Refused as refusal:
        answer = {"refused": [refusal.code, refusal.text[:MAX_TEXT]]}
    except Exception as error:  # miniupnpc raises nothing else
        answer = {"failed": str(error)[:MAX_TEXT]}
    return json.dumps(answer).encode()


def _do(word: str, upnp: Any, is_abandoned: IsAbandoned, arguments: Mapping[str, Any]) -> Any:
    match word:
        case "map":
            return _map(upnp, is_abandoned, **arguments)
        case "unmap":
            return _unmap(upnp, **arguments)
        case "holds":
            return _holds(upnp, **arguments)
        case _:
            raise AssertionError(f"no call: {word}")


def _open_service(url: str) -> Any:
    """A gateway's service, ready for requests. Raises Unreachable."""
    import miniupnpc

    upnp = miniupnpc.UPnP()
    try:
        control = upnp.selectigd(url)
    except Exception as error:
        raise Unreachable(f"no UPnP gateway answers ({error})") from error
    host = host_of(url)
    if host is None or host_of(control) != host:
        raise Unreachable("the gateway's UPnP service sends us to another host")
    return upnp


def _map(
    upnp: Any, is_abandoned: IsAbandoned, *, internal_port: int, first_port: int, lease: int
) -> Mapping[str, str | int | bool]:
    """`lease` 0: permanent. `tells_entries`: whether the gateway lists the mapping that it has just made."""
    try:
        outside = upnp.externalipaddress()
    except Exception as error:
        raise Refused("no_external_address", str(error)) from error
    if not _ADDRESS.fullmatch(outside):
        raise Refused("no_external_address", f"{outside!r} is no IPv4 address")
    refusal = ""
    for external_port in range(first_port, min(first_port + TRIES, 65536)):
        for seconds in (lease, 0) if lease else (0,):
            _check(is_abandoned)
            try:
                upnp.addportmapping(external_port, "UDP", upnp.lanaddr, internal_port, LABEL, "", seconds)
            except Exception as error:
                refusal = str(error)
                if refusal in _PERMANENT_ONLY:
                    continue
                if refusal in _CONFLICTS:
                    break
                if not _leads_here(upnp, external_port, internal_port):  # else only the answer was lost
                    raise Refused("not_mapped", refusal) from error
            if is_abandoned():
                upnp.deleteportmapping(external_port, "UDP")
                _check(is_abandoned)
            tells_entries = _entry(upnp, external_port) is not None
            return {"host": outside, "port": external_port, "lease": seconds, "tells_entries": tells_entries}
    raise Refused("not_mapped", refusal)


def _unmap(upnp: Any, *, external_port: int) -> None:
    entry = _entry(upnp, external_port)
    if entry is not None and entry[0] != upnp.lanaddr:
        raise Refused("not_unmapped", f"the port belongs to {entry[0]}")
    try:
        upnp.deleteportmapping(external_port, "UDP")
    except Exception as error:
        raise Refused("not_unmapped", str(error)) from error


def _holds(upnp: Any, *, host: str, external_port: int, internal_port: int) -> bool | None:
    """None: the gateway has no such mapping, or does not list mappings."""
    return upnp.externalipaddress() == host and _leads_here(upnp, external_port, internal_port)


def _check(is_abandoned: IsAbandoned) -> None:
    if is_abandoned():
        raise Unreachable("nobody waits for this any more")


def _leads_here(upnp: Any, external_port: int, internal_port: int) -> bool | None:
    """Whether the gateway lists a mapping to this machine; None: it lists none there."""
    entry = _entry(upnp, external_port)
    return None if entry is None else (entry[0], int(entry[1])) == (upnp.lanaddr, internal_port)


def _entry(upnp: Any, external_port: int) -> Any:
    """A mapping, its internal host and port first; None: there is none, or the gateway does not list mappings."""
    try:
        return upnp.getspecificportmapping(external_port, "UDP")
    except Exception:
        return None


def limit_process(patience: float) -> None:
    """Limit this process: it lives for `patience` seconds at most, in MAX_MEMORY."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, patience)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
