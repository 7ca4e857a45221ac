"""A network of hosts on one machine: a network namespace for each, joined by a router that has no way out.

Needs root and the programs `ip`, `nsenter`, `sysctl`, and `iptables` for hosts behind routers of their own. Hosts have
addresses that look public and lie in different networks, so that nodes treat them as strangers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PREFIX = "ckbsoak"
NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
CONNECT_S = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


class NoNamespaces(Exception):  # noqa: N818 - a condition of the machine
    """This machine does not let us make network namespaces; the message says why."""


@dataclass(frozen=True)
class Host:
    """A place for a process. Without a namespace it is an address of this machine's loopback."""

    name: str
    ip: str
    namespace: str | None = None

    @property
    def prefix(self) -> Sequence[str]:
        """Words before a command that is to run here. It is killed when whoever started it dies."""
        if self.namespace is None:
            return ()
        return ("nsenter", f"--net={NAMESPACES / self.namespace}", "setpriv", "--pdeathsig", "KILL", "--")

    def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection that begins here. OSError."""
        with self._entered():
            made = socket.socket()
        made.settimeout(CONNECT_S)
        try:
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        return made

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """This thread is in the namespace; a socket stays where it was made."""
        if self.namespace is None:
            yield
            return
        with Path("/proc/thread-self/ns/net").open() as home, (NAMESPACES / self.namespace).open() as away:
            _enter(away.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Hosts:
    """All hosts of one run. `close` removes them; processes in them must have ended before."""

    def __init__(self) -> None:
        """Raises NoNamespaces."""
        self._made: list[str] = []
        for program in ("ip", "nsenter", "setpriv", "sysctl"):
            if shutil.which(program) is None:
                raise NoNamespaces(f"there is no program `{program}`")
        if os.geteuid() != 0:
            raise NoNamespaces("only root may make network namespaces")
        _remove_abandoned()
        try:
            self._router = self._add_namespace("router")
            _within(self._router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        except subprocess.CalledProcessError as error:
            self.close()
            raise NoNamespaces(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from None

    def add(self, name: str, ip: str, networks: Sequence[str] = ()) -> Host:
        """A host with an address `a.b.0.2`, whose neighbour `a.b.0.1` is the router. It may use each address of
        `networks`, too."""
        namespace = self._add_namespace(name)
        gateway = ip.rpartition(".")[0] + ".1"
        link = f"link{len(self._made)}"
        _ip(self._router, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip(self._router, "address", "add", f"{gateway}/24", "dev", link)
        _ip(self._router, "link", "set", link, "up")
        _ip(namespace, "address", "add", f"{ip}/24", "dev", "eth0")
        _ip(namespace, "link", "set", "eth0", "up")
        _ip(namespace, "route", "add", "default", "via", gateway)
        for network in networks:
            _ip(namespace, "route", "add", "local", network, "dev", "lo")
            _ip(self._router, "route", "add", network, "via", ip)
        return Host(name, ip, namespace)

    def add_hidden(self, name: str, ip: str) -> Host:
        """A host behind a router of its own, which has the address: what begins inside gets out, and nothing else gets
        in. Raises NoNamespaces."""
        if shutil.which("iptables") is None:
            raise NoNamespaces("there is no program `iptables`")
        outside = self.add(f"{name}-nat", ip).namespace
        assert outside is not None
        inside = self._add_namespace(name)
        _ip(outside, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", inside)
        for namespace, link, address in ((outside, "eth1", "10.7.0.1/24"), (inside, "eth0", "10.7.0.2/24")):
            _ip(namespace, "address", "add", address, "dev", link)
            _ip(namespace, "link", "set", link, "up")
        _ip(inside, "route", "add", "default", "via", "10.7.0.1")
        _within(outside, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for rule in (
            "-t nat -A POSTROUTING -o eth0 -j MASQUERADE",
            "-A FORWARD -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-A FORWARD -i eth0 -j DROP",
            "-A INPUT -i eth0 -p tcp -j DROP",
        ):
            _within(outside, "iptables", *rule.split())
        return Host(name, ip, inside)

    def cut(self, host: Host) -> None:
        """Pull the cable: nothing comes to this host or from it any more."""
        if host.namespace is not None:
            _ip(host.namespace, "link", "set", "eth0", "down")

    def close(self) -> None:
        """Remove all that was made."""
        while self._made:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", self._made.pop())

    def _add_namespace(self, name: str) -> str:
        namespace = f"{PREFIX}-{os.getpid()}-{name}"
        _run("ip", "netns", "add", namespace)
        self._made.append(namespace)
        _ip(namespace, "link", "set", "lo", "up")
        return namespace


def _remove_abandoned() -> None:
    """Namespaces of runs whose process is gone: it was killed before it could remove them."""
    for path in NAMESPACES.glob(f"{PREFIX}-*"):
        pid = path.name.split("-")[1]
        if not Path("/proc", pid).exists():
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", path.name)


def _ip(namespace: str, *words: str) -> None:
    _run("ip", "-n", namespace, *words)


def _within(namespace: str, *command: str) -> None:
    _run("nsenter", f"--net={NAMESPACES / namespace}", *command)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
