"""Control sockets: for their owner, and never in the way of the next start."""

from __future__ import annotations

import os
import pwd
import socket
import stat
from pathlib import Path

import pytest
import trio

from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.os import controls as real_controls
from tunnel.network.os.controls import RealControls
from tunnel.network.ports import Sighting


async def test_the_owner_is_served(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control"
    listener = await RealControls().open_listener(path)
    with trio.fail_after(5):
        async with await RealControls().open_stream(path) as stream:
            served, remote = await listener.accept()
            async with served:
                await stream.send_all(b"hello")
                assert await served.receive_some() == b"hello"
            assert remote.port == os.getpid()
    await listener.aclose()


async def test_the_socket_is_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control"
    listener = await RealControls().open_listener(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await listener.aclose()


async def test_another_user_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the file's mode ever not hold: the kernel says who calls."""
    path = tmp_path / "control"
    listener = await RealControls().open_listener(path)
    callers = iter([12345, os.geteuid()])

    class Credentials:
        size = real_controls._CREDENTIALS.size

        def unpack(self, packed: bytes) -> tuple[int, int, int]:
            process, _, group = real_controls_credentials.unpack(packed)
            return process, next(callers), group

    real_controls_credentials = real_controls._CREDENTIALS
    monkeypatch.setattr(real_controls, "_CREDENTIALS", Credentials())
    with trio.fail_after(5):
        async with await RealControls().open_stream(path) as stranger, await RealControls().open_stream(path):
            served, _ = await listener.accept()
            await served.aclose()
            assert await stranger.receive_some() == b""
    await listener.aclose()


async def test_two_listeners_at_one_path_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "control"
    listener = await RealControls().open_listener(path)
    with pytest.raises(DeviceError, match="somebody listens"):
        await RealControls().open_listener(path)
    async with await RealControls().open_stream(path):
        pass  # the first one is unharmed
    await listener.aclose()
    assert not path.exists()
    await (await RealControls().open_listener(path)).aclose()


async def test_a_socket_left_behind_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    listener = await RealControls().open_listener(path)
    os.close(listener._lock)  # as the kernel does for a killed process; the file stays
    listener._socket.close()
    assert path.exists()
    again = await RealControls().open_listener(path)
    async with await RealControls().open_stream(path):
        pass
    await again.aclose()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text("precious")
    with pytest.raises(DeviceError, match="no socket"):
        await RealControls().open_listener(path)
    assert path.read_text() == "precious"


async def test_a_path_that_cannot_be_used_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be made"):
        await RealControls().open_listener(tmp_path / ("x" * 120))
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot be made"):
        await RealControls().open_listener(tmp_path / "file" / "control")


async def test_nobody_at_a_path_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="nobody answers"):
        await RealControls().open_stream(tmp_path / "control")


async def test_whoever_listens_is_seen_as_long_as_he_listens(tmp_path: Path) -> None:
    path = tmp_path / "p2ptunnel-trio" / "control.sock"
    listener = await RealControls().open_listener(path)
    owner = pwd.getpwuid(os.geteuid()).pw_name
    assert Sighting(path, owner, True) in RealControls().sightings()
    async with await RealControls().open_stream(path):
        assert [seen.path for seen in RealControls().sightings()].count(path) == 1
    await listener.aclose()
    assert path not in [seen.path for seen in RealControls().sightings()]


async def test_sockets_of_other_programs_are_none_of_a_node(tmp_path: Path) -> None:
    """`control.sock` is a name that others use too; ours has a lock beside it, wherever it is."""
    named = await RealControls().open_listener(tmp_path / "a" / "control.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "control.sock"))
        other.listen()
        seen = [one.path for one in RealControls().sightings()]
    assert tmp_path / "a" / "control.sock" in seen
    assert tmp_path / "control.sock" not in seen
    await named.aclose()


@pytest.mark.netlab
async def test_another_user_sees_whose_node_runs_and_is_refused_by_the_system(tmp_path: Path) -> None:
    """As root keeps it: in a folder that nobody else may enter."""
    path = tmp_path / "p2ptunnel-trio" / "control.sock"
    listener = await RealControls().open_listener(path)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    try:
        os.seteuid(65534)
        assert Sighting(path, "root", False) in RealControls().sightings()
        with pytest.raises(Unreachable) as caught:
            await RealControls().open_stream(path)
        assert isinstance(caught.value.__cause__, PermissionError)
    finally:
        os.seteuid(0)
        await listener.aclose()
