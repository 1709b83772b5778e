"""Results on the board's disk until the gateway has acknowledged them: no crash or outage loses them."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TypeVar

from edge_agent.errors import SpoolError
from edge_agent.files import sync_folder, write_whole
from edge_agent.records import RESULT_LIMIT_BYTES, Lease, RecordError, Result

log = logging.getLogger("edge_agent")

_MAX_ANSWERED = 512

T = TypeVar("T")


def lease_key(lease: Lease | Result) -> str:
    """Return what identifies one grant: a lease granted again has a higher token and is another one."""
    return f"{lease.lease_id}#{lease.token}"


class Spool:
    """A folder of results, one file each, and two small ledgers: leases answered, and leases begun.

    While the disk cannot be written, `fault` says why. Results are then kept in memory, and stored once it can be.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder; what no gateway takes is set aside as `.bad`.

        No result is dropped for its age: many boards have no clock of their own and wake up in another year, and a
        gateway that no longer wants a result says so.
        """
        self._folder = folder
        self.fault: str | None = None
        self._answered_path, self._begun_path = folder / "answered.ledger", folder / "begun.ledger"
        self._results: dict[str, Result] = {}
        self._unstored: set[str] = set()
        for path in sorted(folder.glob("*.json")):
            try:
                result = _sendable(path)
            except RecordError as error:
                log.error("spooled result %s is set aside as .bad: %s", path.name, error)
                path.rename(path.with_suffix(".bad"))
                continue
            self._results[result.result_id] = result
        self._answered = _ledger(self._answered_path, list[str]())
        self._begun = _ledger(self._begun_path, dict[str, int]())

    def pending(self) -> list[Result]:
        """Return the results that wait for an acknowledgement, oldest first."""
        return sorted(self._results.values(), key=lambda result: result.finished_unix_s)

    def is_answered(self, lease: Lease) -> bool:
        """Return whether this grant has a result here, or had one that was acknowledged."""
        key = lease_key(lease)
        return key in self._answered or any(lease_key(result) == key for result in self._results.values())

    def begin(self, lease: Lease) -> int:
        """Note that work on a lease begins; return how often it has begun, this time included.

        A second time means that the first took the agent or the whole board down with it.

        Raises:
            SpoolError: It cannot be noted, so what kills the agent would not be known afterwards: do not begin.
        """
        key = lease_key(lease)
        self._begun[key] = self._begun.get(key, 0) + 1
        if not self._write_begun():
            self._begun[key] -= 1
            raise SpoolError(f"the board cannot store its results: {self.fault}")
        return self._begun[key]

    def add(self, result: Result) -> None:
        """Store a result; when this returns, and there is no `fault`, it survives a power cut."""
        self._results[result.result_id] = result
        self._unstored.add(result.result_id)
        self.store()
        self.forget_begun(result)

    def store(self) -> None:
        """Store what could not be stored before, and find out whether the disk can be written again."""
        if self.fault is not None:
            self._write_begun()
        for result_id in sorted(self._unstored):
            if self._write(self._folder / f"{result_id}.json", self._results[result_id].to_json()):
                self._unstored.remove(result_id)

    def acknowledge(self, result_id: str) -> bool:
        """Drop a result that the gateway has taken; return whether it was here."""
        result = self._results.get(result_id)
        if result is None:
            return False
        self._answered = [*self._answered, lease_key(result)][-_MAX_ANSWERED:]
        self._write(self._answered_path, json.dumps(self._answered))
        with contextlib.suppress(OSError):  # what stays is sent once more after a restart, and acknowledged again
            (self._folder / f"{result_id}.json").unlink(missing_ok=True)
            sync_folder(self._folder)
        self._unstored.discard(result_id)
        del self._results[result_id]
        return True

    def forget_begun(self, lease: Lease | Result) -> None:
        """Strike a lease from the ledger of those begun: it was answered, or given up with the agent alive."""
        if self._begun.pop(lease_key(lease), None) is not None:
            self._write_begun()

    def _write_begun(self) -> bool:
        return self._write(self._begun_path, json.dumps(self._begun))

    def _write(self, path: Path, text: str) -> bool:
        """Store `text` and return True, or note the `fault` and return False."""
        try:
            write_whole(path, text.encode())
        except OSError as error:
            fault = f"{self._folder}: {error.strerror or error}"
            if fault != self.fault:
                log.error("%s; results are kept in memory and no lease is begun until it can be written", fault)
            self.fault = fault
            return False
        if self.fault is not None:
            log.info("%s can be written again", self._folder)
        self.fault = None
        return True


def _sendable(path: Path) -> Result:
    result = Result.from_json(path.read_bytes())
    if (size := len(result.to_json())) > RESULT_LIMIT_BYTES:
        raise RecordError(f"it takes {size} bytes but the gateway takes results of at most {RESULT_LIMIT_BYTES}")
    return result


def _ledger(path: Path, empty: T) -> T:
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_bytes())
        if isinstance(value, type(empty)):
            return value
    return empty
