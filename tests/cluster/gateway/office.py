"""A mailroom over real folders and a real store, with a clock that is set by hand."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.gateway.folders import GatewayFolders
from cluster.gateway.mailroom import Mailroom
from nas_service.measurement import RequestState
from nas_service.store import Store
from tests.cluster.gateway.paper_board import PaperBoard
from tests.cluster.gateway.samples import wanted
from tests.nas_service.store.test_fleet import KEY_1

NOW = 1_800_000_000.0


class Office:
    """A mailroom with its store, folders and clock."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store, self.folders, self.now = store, GatewayFolders(root), NOW
        self.open()

    def open(self) -> None:
        """Begin as a new process would."""
        self.room = Mailroom(self.folders, fleet=self.store.fleet, files=self.store.files, clock=lambda: self.now)
        self.room.begin()

    def enrol(self, name: str = "pi-1", *, key: str = KEY_1) -> PaperBoard:
        token = self.store.fleet.create_enrolment(name, board_class="rpi5", ttl_s=60.0, now=self.now)
        self.store.fleet.redeem(token, public_key=key, fingerprint={"model": "pi"}, now=self.now)
        self.room.round()
        return PaperBoard(self.folders.boards / name)

    def request(self, *names: str, data: bytes = b"onnx") -> list[str]:
        sha = self.store.files.put(data)
        return [s.measurement_key for s in self.store.fleet.request([wanted(sha, name=n) for n in names], now=self.now)]

    def hear(self, board: PaperBoard, *, lease_id: str | None = None) -> None:
        """Let the board's heartbeat arrive now, by the office's clock."""
        board.beat(lease_id=lease_id)

        os.utime(board.root / "heartbeat.json", (self.now, self.now))
        self.room.round()

    def state(self, key: str) -> RequestState:
        return self.store.fleet.states([key])[key]
