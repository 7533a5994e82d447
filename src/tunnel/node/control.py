"""The control socket: how the commands of one machine talk to the node that runs there.

One JSON object a line, both ways, over a Unix socket that only its owner may open (docs/control.md):

    {"do": "status"}                ->  {"ok": true, "result": {...}}
    {"do": "ping", "peer": "desk"}  ->  {"ok": false, "code": "peer_unreachable", "error": "desk did not answer"}

Commands: status, watch (answers after each change, until the client hangs up or sends another command), why, ping,
netcheck, invite, forget, down. A line that is not a request is answered with an error, and the connection stays. This
module knows the node only as a `NodeApi` (control_api.py). The client: control_client.py.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import trio

from tunnel.model.errors import MalformedFrame, SettingsError, TunnelError
from tunnel.model.reasons import ReasonCode
from tunnel.model.status import (
    interface_to_json,
    nat_to_json,
    path_to_json,
    peer_to_json,
    port_mapping_to_json,
    server_to_json,
    status_to_json,
)
from tunnel.nat.netcheck_report import NetcheckReport
from tunnel.network.ports import StreamListener
from tunnel.node.control_api import Change, NodeApi
from tunnel.node.control_lines import Lines, decode_line, encode_line, failure, failure_of
from tunnel.wire.invites import encode_invite

MAX_LINE = 64 * 1024
MAX_CONNECTIONS = 32
SHORTEST_REFRESH = 0.2

log = logging.getLogger(__name__)
Request = Mapping[str, Any]


async def serve_control(
    listener: StreamListener,
    node: NodeApi,
    *,
    end: Callable[[], None] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer at the listener until cancelled. At most MAX_CONNECTIONS at once; the next hears `busy`.

    `end()` is called after a `down` has been answered; without it `down` is refused.
    """
    active = 0

    async def serve_one(stream: trio.abc.Stream) -> None:
        nonlocal active
        active += 1
        try:
            async with stream:
                if active > MAX_CONNECTIONS:
                    await stream.send_all(encode_line(failure("busy", f"more than {MAX_CONNECTIONS} connections")))
                else:
                    await _Conversation(stream, node, end).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a control connection broke")
        except Exception:
            log.exception("a control connection failed")
        finally:
            active -= 1

    async with trio.open_nursery() as nursery:
        task_status.started()
        while True:
            stream, _ = await listener.accept()
            nursery.start_soon(serve_one, stream)


class _Conversation:
    """The node's side of one control connection."""

    def __init__(self, stream: trio.abc.Stream, node: NodeApi, end: Callable[[], None] | None) -> None:
        self._stream = stream
        self._node = node
        self._end = end
        self._is_ending = False
        self._lines = Lines(stream, MAX_LINE)
        self._words: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "status": self._status,
            "why": self._why,
            "ping": self._ping,
            "netcheck": self._netcheck,
            "invite": self._invite,
            "forget": self._forget,
            "down": self._down,
        }

    async def run(self) -> None:
        while True:
            try:
                line = await self._lines.receive_untrusted()
                if line is None:
                    return
                request = decode_line(line)
            except MalformedFrame as error:
                await self._stream.send_all(encode_line(failure("bad_request", str(error))))
                continue
            if request.get("do") == "watch":
                await self._watch(request)
            else:
                await self._stream.send_all(encode_line(await self._answer(request)))
            if self._is_ending and self._end is not None:
                self._end()
                return

    async def _answer(self, request: Request) -> dict[str, Any]:
        word = request.get("do")
        answer = self._words.get(word) if isinstance(word, str) else None
        if answer is None:
            return failure("bad_request", f"`do` is one of {', '.join(sorted([*self._words, 'watch']))}")
        try:
            return {"ok": True, "result": await answer(request)}
        except TunnelError as error:
            return failure_of(error)
        except Exception:
            log.exception("a control request failed", extra={"word": word})
            return failure("internal_error", "a bug in the node: its log holds a traceback")

    async def _status(self, _: Request) -> Any:
        return status_to_json(self._node.status())

    async def _why(self, request: Request) -> Any:
        found = self._node.peer(_peer_of(request)).status()
        reason, server = found.reason, self._node.status().server
        if reason is not None and reason.code is ReasonCode.SERVER_UNREACHABLE and server.reason:
            told = peer_to_json(replace(found, reason=replace(reason, evidence=f"{reason.evidence} ({server.reason})")))
            told["reason"]["remedy"] = server.remedy or told["reason"]["remedy"]
            return told
        return peer_to_json(found)

    async def _ping(self, request: Request) -> Any:
        echo = await self._node.ping(_peer_of(request))
        return {
            "id": echo.id,
            "rtt_ms": round(echo.rtt * 1000, 3),
            "path": None if echo.path is None else path_to_json(echo.path),
        }

    async def _netcheck(self, _: Request) -> Any:
        return netcheck_to_json(await self._node.netcheck())

    async def _invite(self, _: Request) -> Any:
        return {"invite": encode_invite(self._node.invite)}

    async def _forget(self, request: Request) -> Any:
        freed = self._node.forget(_peer_of(request))
        return {"id": freed.id, "names": list(freed.names), "gone": freed.is_gone}

    async def _down(self, _: Request) -> Any:
        if self._end is None:
            raise SettingsError("this node is a part of another program: end that")
        self._is_ending = True
        return {"name": self._node.status().name}

    async def _watch(self, request: Request) -> None:
        """The status now, after each change, and each `every` seconds if asked; until the client hangs up or writes."""
        every = request.get("every")
        if every is not None and (type(every) not in (int, float) or not SHORTEST_REFRESH <= every <= 3600):
            await self._stream.send_all(encode_line(failure("bad_request", f"`every` is {SHORTEST_REFRESH} to 3600 s")))
            return
        turn = trio.Lock()

        async def tell(change: Change | None) -> None:
            async with turn:
                told = None if change is None else change_to_json(change)
                result = {"status": status_to_json(self._node.status()), "change": told}
                try:
                    await self._stream.send_all(encode_line({"ok": True, "result": result}))
                except trio.BrokenResourceError:
                    nursery.cancel_scope.cancel()

        async def tell_changes() -> None:
            changes = self._node.watch()
            try:
                async for change in changes:
                    await tell(change)
            finally:
                if isinstance(changes, AsyncGenerator):
                    await changes.aclose()  # a generator that waits at its yield is not closed otherwise

        async def tell_times(seconds: float) -> None:
            while True:
                await trio.sleep(seconds)
                await tell(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_changes)
            await tell(None)
            if every is not None:
                nursery.start_soon(tell_times, float(every))
            await self._lines.wait_something()
            async with turn:  # between two lines, never within one
                nursery.cancel_scope.cancel()


def change_to_json(change: Change) -> dict[str, Any]:
    """One change, as `watch` sends it."""
    move = change.move
    return {
        "peer": change.peer.id,
        "name": change.peer.name,
        "at": move.at,
        "from": move.source,
        "event": move.event,
        "to": move.target,
    }


def netcheck_to_json(report: NetcheckReport) -> dict[str, Any]:
    """What `netcheck --json` prints (docs/status.md)."""
    survey, nat, second = report.survey, report.survey.report, report.second_opinion
    return {
        "version": 1,
        "nat": nat_to_json(nat),
        **nat_to_json(nat),
        "step": nat.step or None,
        "load": round(nat.load, 1) if nat.step else None,
        "block": None if nat.block is None else list(nat.block),
        "lifetime": nat.lifetime,
        "keepalive": report.keepalive,
        "heard": {"other_address": report.behavior_report.both.value, "other_port": report.behavior_report.port.value},
        "ipv6": {
            "address": report.ipv6.has_address,
            "reached": report.ipv6.is_reached,
            "filtering": report.ipv6.filtering.value,
        },
        "nat64": list(report.nat64),
        "captive_portal": report.captive_portal.value,
        "port_mappings": [port_mapping_to_json(mapping) for mapping in report.port_mappings],
        "upnp_installed": report.speaks_upnp,
        "relay_only": report.relay_only,
        "interface": None if report.interface is None else interface_to_json(report.interface),
        "external": None if report.external is None else str(report.external),
        "server": None if report.server is None else server_to_json(report.server),
        "took_s": round(report.took, 1),
        "reflexive": [str(endpoint) for endpoint in survey.reflexive],
        "answers": [
            {"server": answer.server, "mapped": str(answer.mapped), "rtt_ms": round(answer.rtt * 1000, 3)}
            for answer in survey.answers
        ],
        "observers": survey.observers,
        "silent": list(survey.silent),
        "unresolved": list(survey.unresolved),
        "worthless": [{"server": answer.server, "mapped": str(answer.mapped)} for answer in survey.worthless],
        "unnamed": list(survey.unnamed),
        "servers": [
            {
                "server": health.server,
                "resolved": health.is_resolved,
                "answered_s_ago": None if health.answered_ago is None else round(health.answered_ago, 1),
                "rtt_ms": None if health.rtt is None else round(health.rtt * 1000, 3),
                "silences": health.silences,
            }
            for health in report.servers
        ],
        "second_opinion": None
        if second is None
        else {"classic": second.classic, "term": second.term, "note": second.note, "agrees": report.agrees},
    }


def _peer_of(request: Request) -> str:
    peer = request.get("peer")
    if not isinstance(peer, str) or not peer:
        raise SettingsError("`peer` is a name, an id or a tunnel address")
    return peer
