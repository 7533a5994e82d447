"""A web server on loopback in the place of a gateway's UPnP service; it can be hostile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SERVICES = "urn:schemas-upnp-org:service"
_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
_CHUNK = b" " * (1 << 20)


class IgdDouble(ThreadingHTTPServer):
    """Describes itself at `/igd.xml` with the control URL `control`; `/endless` and `/drip` never end."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.host = host
        self.control = "/control"
        self.base = ""
        self.sent = 0
        """Bytes that `/endless` has got rid of."""
        self.posted: list[str] = []

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.server_port}{path}"


@contextmanager
def open_igd(host: str = "127.0.0.1") -> Iterator[IgdDouble]:
    with IgdDouble(host) as igd:
        thread = threading.Thread(target=igd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield igd
        finally:
            igd.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: IgdDouble

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/igd.xml":
            description = _describe(self.server.control, self.server.base)
            self.send_header("Content-Length", str(len(description)))
            self.end_headers()
            self.wfile.write(description)
            return
        self.end_headers()
        with suppress(OSError):
            while self.path == "/endless":
                self.wfile.write(_CHUNK)
                self.server.sent += len(_CHUNK)
            while self.path == "/drip":
                self.wfile.write(b" ")
                time.sleep(0.05)

    def do_POST(self) -> None:
        self.server.posted.append(self.headers["SOAPAction"].strip('"').partition("#")[2])
        self.send_error(500)


def _describe(control: str, base: str) -> bytes:
    services = "".join(
        f"<service><serviceType>{_SERVICES}:{kind}:1</serviceType><controlURL>{control}</controlURL></service>"
        for kind in ("WANCommonInterfaceConfig", "WANIPConnection")
    )
    device = f"<device><deviceType>{_DEVICE}</deviceType><serviceList>{services}</serviceList></device>"
    return f'<?xml version="1.0"?><root>{base}{device}</root>'.encode()
