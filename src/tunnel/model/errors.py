"""Every error that leaves a public function of the project.

An error's docstring is the sentence that a user may read; its text carries the facts and what to do next.
"""

from __future__ import annotations


class TunnelError(Exception):
    """Something in the tunnel went wrong."""


class SettingsError(TunnelError):
    """A setting, option or invite is wrong; nothing was sent."""


class LocalProtocolError(TunnelError):
    """Our own side tried what the protocol does not allow: a bug here."""


class RemoteProtocolError(TunnelError):
    """The other side said what the protocol does not allow."""


class MalformedFrame(RemoteProtocolError):
    """Bytes from outside that are not what they claim to be. The only error of every `decode_*`."""


class UnexpectedSignal(RemoteProtocolError):
    """A well-formed signal that has no place at this moment."""


class NotAuthentic(RemoteProtocolError):
    """Bytes that were not sealed, signed or proved by who they claim to come from, or that came twice."""


class Refused(TunnelError):
    """The server refused, with a reason."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text


class Unreachable(TunnelError):
    """Nobody answered in time."""


class ServerUnreachable(Unreachable):
    """The server did not answer in time."""


class ProxyRefused(ServerUnreachable):
    """The HTTP proxy on the way to the server does not let us through."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status
        """The HTTP status of its answer; 0 if there was none."""


class PeerUnreachable(Unreachable):
    """The peer did not answer in time on any path."""


class DeviceError(TunnelError):
    """A device of this machine (TUN, socket, file) could not be used."""


class DeviceDenied(DeviceError):
    """This machine does not let this program use a device; another kind of device may do."""

    alternative = ", or use --userspace"
    """How its text ends if it says so too."""
