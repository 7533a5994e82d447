"""An HTTP proxy that passes CONNECT on to whoever says the password: `http_proxy.py ADDRESS PORT [USER:PASSWORD]`.

Prints `ready`, then a line for each request: its target and the status of the answer.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import sys
import threading


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def serve(client: socket.socket, wanted: str) -> None:
    head = b""
    while b"\r\n\r\n" not in head and (data := client.recv(4096)):
        head += data
    first, *headers = head.decode("latin-1").split("\r\n")
    target = first.split()[1]
    if wanted and f"Proxy-Authorization: Basic {wanted}" not in headers:
        print(target, 407, flush=True)
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")
        client.close()
        return
    host, _, port = target.rpartition(":")
    print(target, 200, flush=True)
    onward = socket.create_connection((host.strip("[]"), int(port)), 5)
    onward.settimeout(None)
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=pump, args=(onward, client), daemon=True).start()
    pump(client, onward)


def main(address: str, port: str, password: str = "") -> None:
    wanted = base64.b64encode(password.encode()).decode() if password else ""
    with socket.create_server((address, int(port))) as listening:
        print("ready", flush=True)
        while True:
            client, _ = listening.accept()
            threading.Thread(target=serve, args=(client, wanted), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
