"""A gateway in memory, for an agent that needs no SSH and measures nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent import agent as agent_module
from edge_agent.agent import Agent
from edge_agent.home import BoardConfig, Home
from edge_agent.lifetime import StopSignal
from edge_agent.mailbox import Inbox
from edge_agent.records import Acknowledgement, AgentSettings, Artifact, Heartbeat, Lease, Result
from edge_agent.work import answer


def paper_lease(lease_id: str = "l1", *, token: int = 1) -> Lease:
    return Lease(
        lease_id=lease_id,
        token=token,
        board="pi",
        board_class="x86",
        tier="probe",
        half="little",
        model=Artifact(sha256="c" * 64, size_bytes=1),
        structure_key="a" * 64,
        measurement_key="b" * 64,
        ttl_s=180.0,
        deadline_unix_s=time.time() + 100,
    )


@dataclass
class PaperMailbox:
    """Holds leases as text, and notes in `events` what is fetched, announced as silence and handed in.

    `refuses` says which results may not be written, and with which error; `failing` which lease's artefact cannot be
    had the first time, and why; `appear` has a lease come to the inbox only with the n-th look.
    """

    leases: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    appear: dict[str, int] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    refuses: Callable[[Result], None] = lambda result: None
    heartbeats: list[Heartbeat] = field(default_factory=list)
    heartbeat_s: float = 10.0
    looks: int = 0
    looked: Callable[[int], None] = lambda looks: None

    def list_inbox(self) -> Inbox:
        self.looks += 1
        self.looked(self.looks)
        there = sorted(name for name in self.leases if self.looks >= self.appear.get(name, 0))
        return Inbox(tuple(there), tuple(result.result_id for result in self.results))

    def read_lease(self, lease_id: str) -> Lease | None:
        return Lease.read(self.leases[lease_id].encode(), lease_id=lease_id)

    def read_settings(self) -> AgentSettings:
        now = time.time()
        return AgentSettings(board="pi", board_class="x86", host_unix_s=now, poll_s=0.01, heartbeat_s=self.heartbeat_s)

    def read_acknowledgement(self, result_id: str) -> Acknowledgement | None:
        return Acknowledgement(result_id=result_id, stored=True)

    def fetch_artifact(self, artifact: Artifact) -> Path:
        name = next(name for name, text in self.leases.items() if artifact.sha256 in text)
        self.events.append(f"fetch {name}")
        if name in self.failing:
            raise self.failing.pop(name)
        return Path(artifact.sha256)

    def put_result(self, result: Result) -> None:
        self.refuses(result)
        self.results.append(result)
        self.events.append(f"result {result.lease_id}")

    def put_heartbeat(self, heartbeat: Heartbeat) -> float | None:
        self.heartbeats.append(heartbeat)
        if heartbeat.state == "measuring" and heartbeat.quiet_until_unix_s is not None:
            self.events.append(f"quiet {heartbeat.lease_id}")
        return None

    def read_heartbeat(self) -> Heartbeat | None:
        return self.heartbeats[-1] if self.heartbeats else None

    def close(self) -> None:
        pass


def measured(identity: Result, *, lease: Lease, beat: Callable[[float | None], None], **rest: object) -> Result:
    """Talk like a measurement does, while preparing and then once before timing, and measure nothing."""
    beat(None)
    beat(None)
    beat(5.0)
    return answer(lease, incarnation="boot-1")


def serve(
    home: Home,
    mailbox: PaperMailbox,
    monkeypatch: pytest.MonkeyPatch,
    *,
    looks: int = 20,
    and_then: Callable[[int], None] = lambda looks: None,
    measure: Callable[..., object] = measured,
) -> None:
    """Run an agent over a mailbox for some looks into it; every lease is answered without measuring.

    `and_then` is called with the number of each look.
    """
    stop = StopSignal()

    def looked(count: int) -> None:
        and_then(count)
        if count >= looks:
            stop.set()

    mailbox.looked = looked
    monkeypatch.setattr(agent_module, "measure_lease", measure)
    config = BoardConfig(host="127.0.0.1", port=22, board="pi", board_class="x86")
    Agent(home, config=config, incarnation="boot-1", stop=stop, connect=lambda *_: mailbox, rng=random.Random(0)).run()
    stop.close()
