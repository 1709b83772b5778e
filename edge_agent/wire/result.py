"""A board's answer to a lease, and the gateway's receipt for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.wire.energy import Energy, SensorFault
from edge_agent.wire.figures import Latency, Memory, PairFigures
from edge_agent.wire.lease import Half, Tier
from edge_agent.wire.record import (
    CAUSE_LIMIT,
    PROTOCOL_VERSION,
    Record,
    RecordError,
    check_incarnation,
    check_name,
    check_sha256,
    check_version,
    shortened,
)

Status = Literal[
    "ok",
    "infeasible_oom",
    "infeasible_timeout",
    "model_error",
    "ep_fallback",
    "parity_fail",
    "throttled",
    "drift",
    "noisy",
    "agent_error",
    "board_lost",
]
Fault = Literal["model", "board", "infra", "unknown"]

RESULT_LIMIT_BYTES = 256 << 10  # what the gateway takes as one result


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Record):
    """A board's answer to one lease. `latency`, `memory` and `energy` are present only if they were measured.

    A cause longer than 2,000 characters is cut and says so: a crafted model chooses what its errors say.
    """

    version: int = PROTOCOL_VERSION
    result_id: str
    lease_id: str
    token: int
    attempt: int
    board: str
    board_class: str
    incarnation: str
    measurement_key: str
    structure_key: str
    model_sha256: str
    tier: Tier
    half: Half
    status: Status
    fault: Fault | None = None
    cause: str | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    sensor_fault: SensorFault | None = None
    pair: PairFigures | None = None
    grade: Literal["gold", "silver", "bronze", "local"] = "bronze"
    runtime: dict[str, Any] = dataclasses.field(default_factory=dict)
    health: dict[str, Any] = dataclasses.field(default_factory=dict)
    phases_s: dict[str, float] = dataclasses.field(default_factory=dict)
    finished_unix_s: float

    def __post_init__(self) -> None:
        check_version(self.version, PROTOCOL_VERSION, "result")
        if self.cause is not None:
            object.__setattr__(self, "cause", shortened(self.cause, CAUSE_LIMIT))
        check_name(self.result_id, what="result_id")
        check_name(self.lease_id, what="lease_id")
        check_incarnation(self.incarnation)
        check_sha256(self.measurement_key, what="measurement_key")
        check_sha256(self.structure_key, what="structure_key")
        if self.status == "ok" and self.latency is None:
            raise RecordError("status is 'ok' but latency is absent; a result without a latency is no measurement")
        if self.status != "ok" and self.fault is None:
            raise RecordError(f"status is {self.status!r} but fault is absent; say model, board, infra or unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(Record):
    """inbox/ack-RESULT_ID.json: the gateway has stored (or finally refused) a result; the board drops its copy."""

    version: int = PROTOCOL_VERSION
    result_id: str
    stored: bool
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.reason is not None:
            object.__setattr__(self, "reason", shortened(self.reason, CAUSE_LIMIT))
