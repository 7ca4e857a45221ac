"""A cable between a client and a server: what it carries can be stopped without either end being told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Final

CHUNK: Final = 64 << 10


class Cable:
    """Listens on a port of loopback, and carries each connection to another port there."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._ends: list[socket.socket] = []
        self.carried = 0
        """Bytes from the server."""
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """Carry nothing; connections stay, and new ones get no answer."""
        self._is_whole.clear()

    def plug(self) -> None:
        """Carry on; connections that stood when it was pulled are dead."""
        if not self._is_whole.is_set():
            self._hang_up()
            self._is_whole.set()

    def close(self) -> None:
        self._listener.close()
        self._is_whole.set()
        self._hang_up()

    def _hang_up(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._is_whole.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._ends += [client, server]
        for source, sink in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(source, sink, server), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._is_whole.wait()
                if source is server:
                    self.carried += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
