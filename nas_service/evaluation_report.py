"""What evaluating one candidate on a worker gives back: a small value that travels through Ray Tune as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edge_agent.records import Artifact
from nas_service.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """The evaluation of one candidate; a failure is a report too, never an exception.

    Attributes:
        candidate_id: Whose report it is.
        status: `ok`, or `failed` with `error` saying why.
        error: Why it failed, else None.
        accuracies: `little` and `big` in percent, of `n` images out of `of`.
        curve: The npz of `nas_service.curve.Curve`, None if failed.
        models: The exported graphs that were asked for, by half, as stored.
        split_hashes: SHA-256 of the index arrays of the splits that were read.
        seconds: Wall time by step.
    """

    candidate_id: str
    status: Literal["ok", "failed"]
    error: str | None = None
    accuracies: dict[str, float] = field(default_factory=dict)
    curve: bytes | None = None
    models: dict[str, Artifact] = field(default_factory=dict)
    split_hashes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status == "ok" and self.curve is None:
            raise InvalidRequestError(f"report of {self.candidate_id} is ok but has no curve")
        if self.status == "failed" and not self.error:
            raise InvalidRequestError(f"report of {self.candidate_id} is failed but does not say why")

    def to_json(self) -> str:
        """Return the report as one line of JSON, the curve in base64; the inverse of `from_json`."""
        data = asdict(self) | {"models": {half: model.to_dict() for half, model in self.models.items()}}
        data["curve"] = None if self.curve is None else base64.b64encode(self.curve).decode()
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Return the report in `text`."""
        data: dict[str, Any] = json.loads(text)
        data["models"] = {half: Artifact.from_dict(model) for half, model in data["models"].items()}
        data["curve"] = None if data["curve"] is None else base64.b64decode(data["curve"])
        return cls(**data)
