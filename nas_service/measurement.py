"""What is asked of the boards and what has come of it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from edge_agent.records import (
    PROTOCOL_VERSION,
    Artifact,
    Half,
    Result,
    RuntimeSettings,
    Tier,
    check_name,
    check_sha256,
    stable_hash,
)


class RequestStatus(str, Enum):
    """Where a request stands: `done` and `failed` are final, until a failed one is asked for anew."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRequest:
    """One half of a pair to be measured on one class of boards.

    Attributes:
        structure_key: SHA-256 of the weight-free structure; halves that share it share the figure.
        board_class: The class whose boards may measure it.
        tier: How long to measure.
        half: What the file is: `little`, `big` or `pair`.
        model: The ONNX file, already stored with the gateway.
        settings: The class's onnxruntime settings.
        job_id: The job that asked, for the record.
        priority: Higher goes first.
    """

    structure_key: str
    board_class: str
    tier: Tier
    half: Half
    model: Artifact
    settings: RuntimeSettings = field(default_factory=RuntimeSettings)
    job_id: str | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        check_sha256(self.structure_key, what="structure_key")
        check_name(self.board_class, what="board_class")

    @property
    def measurement_key(self) -> str:
        """What makes two measurements the same; see `measurement_key`."""
        return measurement_key(
            self.structure_key, tier=self.tier, board_class=self.board_class, settings=self.settings, half=self.half
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestState:
    """What has come of a request.

    `result` is there when it is done, and when it failed because of the model; `cause` says why it failed.
    """

    measurement_key: str
    state: RequestStatus
    result: Result | None = None
    cause: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", RequestStatus(self.state))

    @property
    def is_final(self) -> bool:
        """Whether waiting longer would bring nothing."""
        return self.state in (RequestStatus.DONE, RequestStatus.FAILED)


def measurement_key(structure_key: str, *, tier: Tier, board_class: str, settings: RuntimeSettings, half: Half) -> str:
    """Return the SHA-256 that two measurements share if one can stand for the other.

    It covers the structure without weights, the half, the tier and the protocol's version, the board class, and the
    runtime settings; deadlines are left out, since they bound a figure's cost and not the figure.
    """
    runtime = settings.to_dict()
    for bound in ("prepare_timeout_s", "measure_timeout_s", "memory_limit_mib"):
        del runtime[bound]
    return stable_hash(
        {
            "structure": structure_key,
            "half": half,
            "tier": tier,
            "protocol": PROTOCOL_VERSION,
            "board_class": board_class,
            "runtime": runtime,
        }
    )
