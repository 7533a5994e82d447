"""OpenVPN in its point-to-point mode, AES-256-GCM over UDP, without its kernel module."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Programs, Tunnel, first_line, first_missing
from bench.performance.stage import Stage


class OpenVpn:
    """Two processes that know each other's certificate by its fingerprint."""

    name = "openvpn"

    def missing(self) -> str | None:
        return first_missing("openvpn", "openssl")

    def version(self) -> str:
        return " ".join(first_line("openvpn", "--version").split()[:2])

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        hosts = (stage.home, stage.office)
        with Programs(stage, self.name) as programs:
            prints = [_certify(programs, host.name) for host in hosts]
            pids = []
            for number, host in enumerate(hosts, 1):
                far, folder = hosts[2 - number], programs.folder
                argv = ["openvpn", "--dev", "ovpn-b", "--dev-type", "tun", "--proto", "udp", "--disable-dco"]
                argv += ["--local", host.address, "--remote", far.address, "--port", "1194"]
                argv += ["--ifconfig", f"10.204.0.{number}", f"10.204.0.{3 - number}"]
                argv += ["--tls-client"] if host is stage.home else ["--tls-server", "--dh", "none"]
                argv += ["--cert", f"{folder}/{host.name}.crt", "--key", f"{folder}/{host.name}.key"]
                argv += ["--peer-fingerprint", prints[2 - number], "--data-ciphers", "AES-256-GCM", "--verb", "1"]
                pids.append(programs.start(host, argv))
            programs.wait_answer("10.204.0.2")
            yield Tunnel("10.204.0.2", (pids[0],), (pids[1],))


def _certify(programs: Programs, name: str) -> str:
    """Make a key and a certificate of its own; the certificate's fingerprint."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-subj", f"/CN={name}", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
    subprocess.run(argv, cwd=programs.folder, check=True, capture_output=True)
    argv = ["openssl", "x509", "-in", f"{name}.crt", "-noout", "-fingerprint", "-sha256"]
    done = subprocess.run(argv, cwd=programs.folder, check=True, capture_output=True, text=True)
    return done.stdout.strip().partition("=")[2]
