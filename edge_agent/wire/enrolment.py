"""How a board becomes known: the one-time code, what the board hands in, and what it is answered."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from edge_agent.wire.record import PROTOCOL_VERSION, Record, RecordError, check_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentCode:
    """The one-time code `nas1-TOKEN-FINGERPRINT`: a secret, and the SHA-256 of the server's host key blob in hex.

    The whole text is the password of user `enroll`; the fingerprint lets the board check the server before it sends it.
    """

    token: str
    host_key_sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z2-7]{16,64}", self.token):
            raise RecordError("the enrolment code's token must be 16 to 64 of a-z and 2-7; copy the whole code again")
        check_sha256(self.host_key_sha256, what="the enrolment code's fingerprint")

    def format(self) -> str:
        """Return the code as the user copies it."""
        return f"nas1-{self.token}-{self.host_key_sha256}"

    @classmethod
    def parse(cls, text: str) -> EnrolmentCode:
        """Return the code in `text`; raise RecordError if it is none."""
        parts = text.strip().split("-")
        if len(parts) != 3 or parts[0] != "nas1":
            raise RecordError(
                f"enrolment code begins {text.strip()[:8]!r} but must read nas1-TOKEN-FINGERPRINT; "
                "copy the whole line that `nas board add` printed"
            )
        return cls(token=parts[1], host_key_sha256=parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest(Record):
    """/request.json that a board writes as user `enroll`: its public key and what it is."""

    version: int = PROTOCOL_VERSION
    public_key: str
    agent_version: str
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentAnswer(Record):
    """/answer.json that the gateway writes back: who the board now is, or why not."""

    version: int = PROTOCOL_VERSION
    accepted: bool
    board: str | None = None
    board_class: str | None = None
    reason: str | None = None
