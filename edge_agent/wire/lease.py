"""What a board is asked to measure: an artefact, by which settings, until when."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from edge_agent.wire.record import PROTOCOL_VERSION, Record, RecordError, check_name, check_sha256, check_version

Tier = Literal["probe", "screen", "rank", "final", "sustained"]
Half = Literal["little", "big", "pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Record):
    """A content-addressed file that a board pulls from /artifacts/SHA256."""

    sha256: str
    size_bytes: int

    MAX_BYTES: ClassVar[int] = 1 << 30

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if not 0 < self.size_bytes <= self.MAX_BYTES:
            raise RecordError(f"size_bytes is {self.size_bytes} but must be 1 to {self.MAX_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings(Record):
    """The onnxruntime settings of a board class; the same for all candidates and part of every measurement's key."""

    provider: str = "CPUExecutionProvider"
    threads: int = 1
    arena: bool = True
    prepare_timeout_s: float = 120.0
    measure_timeout_s: float = 180.0
    memory_limit_mib: int | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise RecordError(f"threads is {self.threads} but must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease(Record):
    """The right of one board to one measurement: what, until when, and the fencing token of this grant.

    Without word from the board it ends after `ttl_s`, or a minute after the silence that the board announced.
    """

    version: int = PROTOCOL_VERSION
    lease_id: str
    token: int
    board: str
    board_class: str
    tier: Tier
    half: Half
    model: Artifact
    structure_key: str
    measurement_key: str
    settings: RuntimeSettings = RuntimeSettings()
    ttl_s: float
    deadline_unix_s: float
    attempt: int = 1

    def __post_init__(self) -> None:
        check_version(self.version, PROTOCOL_VERSION, "lease")
        check_name(self.lease_id, what="lease_id")
        check_sha256(self.measurement_key, what="measurement_key")
        check_sha256(self.structure_key, what="structure_key")
        if self.token < 1 or self.attempt < 1:
            raise RecordError(f"token is {self.token} and attempt {self.attempt} but both must be at least 1")

    @classmethod
    def read(cls, text: bytes, *, lease_id: str) -> Lease:
        """Return the lease in the file of `lease_id`.

        Raises:
            UnreadableLeaseError: It holds none, or another one; with a stub if it holds an object all the same.
        """
        try:
            lease = cls.from_json(text)
            if lease.lease_id != lease_id:
                raise RecordError(f"lease {lease_id!r} holds lease_id {lease.lease_id!r}; both must be the same")
        except RecordError as error:
            raise UnreadableLeaseError(str(error), stub=_stub(text, lease_id)) from None
        return lease


class UnreadableLeaseError(RecordError):
    """A lease that this agent cannot read; `stub` has what could be read of it, so that it can be answered."""

    def __init__(self, text: str, *, stub: Lease | None) -> None:
        super().__init__(text)
        self.stub = stub


def _stub(text: bytes, lease_id: str) -> Lease | None:
    """Return a lease with those fields that can be read; None for a file that is no object, such as one cut short."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    digest = "0" * 64
    values: dict[str, Any] = {
        "token": 1,
        "attempt": 1,
        "board": "unknown",
        "board_class": "unknown",
        "tier": "probe",
        "half": "little",
        "model": {"sha256": digest, "size_bytes": 1},
        "structure_key": digest,
        "measurement_key": digest,
    }
    rest = {"lease_id": lease_id, "ttl_s": 0.0, "deadline_unix_s": 0.0}
    for name in values:
        with contextlib.suppress(RecordError, KeyError):
            Lease.from_dict({**rest, **values, name: data[name]})
            values[name] = data[name]
    return Lease.from_dict({**rest, **values})
