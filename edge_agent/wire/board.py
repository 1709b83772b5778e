"""What a board says of itself, and what the gateway tells it about time, protocol and its class."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.wire.lease import RuntimeSettings
from edge_agent.wire.record import PROTOCOL_VERSION, Record, RecordError, check_incarnation

_HOST_KEY = re.compile(r"ssh-ed25519 AAAA[A-Za-z0-9+/]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Record):
    """What a board says of itself every 10 s; `quiet_until_unix_s` announces the silence of a timed window.

    `next_host_key_sha256` is of the key that the gateway has announced and that the board will accept from now on.
    """

    version: int = PROTOCOL_VERSION
    board: str
    incarnation: str
    state: Literal["idle", "fetching", "cooling", "measuring", "stopping"]
    sent_unix_s: float
    quiet_until_unix_s: float | None = None
    lease_id: str | None = None
    agent_version: str
    next_host_key_sha256: str | None = None
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)
    health: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_incarnation(self.incarnation)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(Record):
    """/agent.json: what the gateway tells a board about time, protocol and its class.

    `next_host_key` is the line of the host key that the gateway will show before long; None while it changes none.
    """

    version: int = PROTOCOL_VERSION
    board: str
    board_class: str
    host_unix_s: float
    poll_s: float = 1.0
    heartbeat_s: float = 10.0
    next_host_key: str | None = None
    settings: RuntimeSettings = dataclasses.field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        if self.next_host_key is not None and not _HOST_KEY.fullmatch(self.next_host_key):
            raise RecordError(f"next_host_key is {self.next_host_key[:40]!r} but must be `ssh-ed25519 AAAA...`")
