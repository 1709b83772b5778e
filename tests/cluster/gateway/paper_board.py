"""A board that needs no SSH: it reads and writes its mailbox's files as an SFTP client would, and measures nothing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.records import Acknowledgement, Lease, Result
from tests.cluster.gateway.samples import good_result, heartbeat


class PaperBoard:
    """Answers every lease once; hands a result in again until it is acknowledged."""

    def __init__(self, root: Path, *, answer: Callable[[Lease], Result] | None = None) -> None:
        self.root = root
        self.name = root.name
        self.incarnation = "boot-1"
        self.answer = answer or (lambda lease: good_result(lease, result_id=f"r-{lease.lease_id}"))
        self.spool: dict[str, Result] = {}
        self.answered: set[str] = set()
        self.acknowledged: dict[str, Acknowledgement] = {}

    def beat(self, *, lease_id: str | None = None) -> None:
        beat = heartbeat(self.name, incarnation=self.incarnation, lease_id=lease_id)
        self._put("heartbeat.json", beat.to_json())

    def leases(self) -> list[Lease]:
        paths = sorted((self.root / "inbox").glob("lease-*.json"))
        return sorted((Lease.from_json(p.read_bytes()) for p in paths), key=lambda lease: lease.token)

    def work(self) -> None:
        """Do what an agent does in one look at its inbox."""
        for path in (self.root / "inbox").glob("ack-*.json"):
            word = Acknowledgement.from_json(path.read_bytes())
            self.acknowledged[word.result_id] = word
            self.spool.pop(word.result_id, None)
        for lease in self.leases():
            if lease.lease_id not in self.answered:
                assert (self.root / "artifacts" / lease.model.sha256).exists()
                self.answered.add(lease.lease_id)
                result = replace(self.answer(lease), incarnation=self.incarnation)
                self.spool[result.result_id] = result
        for result in self.spool.values():
            self.hand_in(result.result_id, result.to_json())

    def hand_in(self, result_id: str, text: str) -> None:
        self._put(f"outbox/{result_id}.json", text)

    def _put(self, name: str, text: str) -> None:
        part = self.root / f"{name}.part"
        part.write_text(text)
        os.replace(part, self.root / name)

    def live(self, until: Callable[[], bool], *, rng: random.Random) -> None:
        """Work at irregular intervals until told to stop."""
        while not until():
            try:
                self.beat()
                self.work()
            except FileNotFoundError:  # a lease was withdrawn while it was read
                pass
            time.sleep(rng.uniform(0.0, 0.05))
