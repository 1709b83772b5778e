"""A wire between one board and the gateway that can be cut, or go dead without a word."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_CHUNK_BYTES = 1 << 16


class Wire:
    """A TCP relay on loopback. `cut` ends every connection; while `dead`, bytes wait and nobody is told."""

    def __init__(self, target_port: int) -> None:
        """Listen on any free port for what goes to `target_port`."""
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = int(self._listener.getsockname()[1])
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._alive = threading.Event()
        self._alive.set()
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def cut(self) -> int:
        """End all connections at once, as a pulled cable with a router that tells both; return how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _close(pair)
        return len(pairs)

    def go_dead(self) -> None:
        """Carry nothing from now on."""
        self._alive.clear()

    def come_back(self) -> None:
        """Carry what has waited, and what comes."""
        self._alive.set()

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._alive.set()
        _close((self._listener,))
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                _close((near,))
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.add((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    self._alive.wait()
                    ready_end = key.fileobj
                    assert isinstance(ready_end, socket.socket)
                    data = ready_end.recv(_CHUNK_BYTES)
                    if not data:
                        raise ConnectionResetError
                    other[ready_end].sendall(data)
        _close((near, far))
        with self._lock:
            self._pairs.discard((near, far))


def _close(ends: tuple[socket.socket, ...]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
