"""What every mapping in a job has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A mapping in a job: never changed, and with no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
