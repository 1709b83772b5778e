"""What a board says of itself with each heartbeat: what it is, how it is, and whether it can store results."""

from __future__ import annotations

import logging
from typing import Any

from edge_agent.clocks import power_mode
from edge_agent.errors import BadUsageError
from edge_agent.fingerprint import read_fingerprint
from edge_agent.health import ROOT, read_health
from edge_agent.home import Home
from edge_agent.records import Heartbeat
from edge_agent.sensors import EnergySensor, Place, find_sensor
from edge_agent.spool import Spool

log = logging.getLogger("edge_agent")


class Condition:
    """A board's fingerprint, health, sensor and storage; whoever else writes as this board is noticed here, too."""

    def __init__(self, home: Home, spool: Spool) -> None:
        """Take where the board stores things."""
        self._home, self._spool = home, spool
        self._storage: str | None = None
        self._rivals: set[str] = set()
        self.sensor: EnergySensor | None = None
        self.fingerprint = read_fingerprint()

    def find_sensor(self) -> None:
        """Find the board's sensor; with options that cannot be used there is no energy, and the agent goes on."""
        try:
            self.sensor = find_sensor(Place.of_home(self._home.root))
        except BadUsageError as error:
            log.error("results will have no energy: %s", error)
            return
        found = f"{self.sensor.source} ({self.sensor.scope})" if self.sensor else "no sensor; see nas-edge doctor"
        log.info("energy: %s", found)

    def try_storage(self) -> None:
        """Find out whether this board can keep what it measures; while it cannot, it gets no leases."""
        self._spool.store()
        fault = self._spool.fault or self._home.storage_fault()
        if fault is not None and fault != self._storage:
            log.error("no leases until this board can store its results: %s; see nas-edge doctor", fault)
        if fault is None and self._storage is not None:
            log.info("this board can store its results again")
        self._storage = fault

    def notice(self, found: Heartbeat | None, *, incarnation: str) -> None:
        """Log once of each other agent that writes as this board, which the lock of a copied home cannot keep out.

        Args:
            found: The board's last heartbeat on the gateway, None if there is none.
            incarnation: This agent's.
        """
        if found is not None and found.incarnation not in {incarnation, *self._rivals}:
            self._rivals.add(found.incarnation)
            log.error(
                "another agent (%s) writes as board %s, so its home was copied: neither gets leases; stop one of them "
                "and enrol it by another name (nas board add), in a home of its own",
                found.incarnation,
                found.board,
            )

    def fields(self) -> dict[str, Any]:
        """Return a heartbeat's `fingerprint` and `health` as they are now."""
        return {
            "fingerprint": {**self.fingerprint, "power_mode": power_mode(ROOT)},  # may change while we run
            "health": {
                **read_health(),
                "energy_sensor": self.sensor.source if self.sensor else "none",
                "storage": self._spool.fault or self._storage,
            },
        }
