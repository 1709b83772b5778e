"""The artefact of the next lease is here before timing begins, and nothing is fetched while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent import Agent
from edge_agent.errors import ArtifactError, LinkError
from edge_agent.home import BoardConfig, Home
from edge_agent.lifetime import StopSignal
from edge_agent.mailbox import Inbox
from edge_agent.records import Acknowledgement, AgentSettings, Artifact, Heartbeat, Lease, Result
from edge_agent.work import refusal


def make_lease(number: int, *, size_bytes: int = 1000) -> Lease:
    return Lease(
        lease_id=f"l{number}",
        token=number,
        board="pi",
        board_class="x86",
        tier="probe",
        half="little",
        model=Artifact(sha256=f"{number:064d}", size_bytes=size_bytes),
        structure_key="a" * 64,
        measurement_key=f"{number:064d}",
        ttl_s=180.0,
        deadline_unix_s=time.time() + 300,
    )


class PaperMailbox:
    """A mailbox that notes what is asked of it, and stops the agent when `expected` results have come.

    `appear` has leases come to the inbox only with the n-th listing.
    """

    def __init__(self, leases: list[Lease], *, stop: StopSignal, appear: dict[str, int] | None = None) -> None:
        self.events: list[str] = []
        self.failing: dict[str, Exception] = {}
        self._leases, self._stop, self._appear, self._listed = {x.lease_id: x for x in leases}, stop, appear or {}, 0

    def list_inbox(self) -> Inbox:
        self._listed += 1
        return Inbox(tuple(name for name in self._leases if self._listed >= self._appear.get(name, 0)), ())

    def read_lease(self, lease_id: str) -> Lease | None:
        return self._leases.get(lease_id)

    def read_settings(self) -> AgentSettings:
        return AgentSettings(board="pi", board_class="x86", host_unix_s=time.time())

    def read_acknowledgement(self, result_id: str) -> Acknowledgement | None:
        return None

    def fetch_artifact(self, artifact: Artifact) -> Path:
        name = f"l{int(artifact.sha256)}"
        self.events.append(f"fetch {name}")
        if name in self.failing:
            raise self.failing.pop(name)
        return Path("model.onnx")

    def put_result(self, result: Result) -> None:
        if f"result {result.lease_id}" not in self.events:
            self.events.append(f"result {result.lease_id}")
        if sum(event.startswith("result") for event in self.events) == len(self._leases):
            self._stop.set()

    def put_heartbeat(self, heartbeat: Heartbeat) -> float | None:
        if heartbeat.state == "measuring" and heartbeat.quiet_until_unix_s is not None:
            self.events.append(f"quiet {heartbeat.lease_id}")
        return None

    def close(self) -> None: ...


def measured(identity: Result, *, lease: Lease, beat: Callable[[float | None], None], **_: Any) -> Result:
    """Talk like a measurement does: while preparing, then once before timing."""
    beat(None)
    beat(None)
    beat(5.0)
    return refusal(identity, status="model_error", fault="model", cause="not measured in this test")


@pytest.fixture
def serve(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    monkeypatch.setattr("edge_agent.agent.measure_lease", measured)
    home.host_key_path.write_text("ssh-ed25519 AAAA\n")

    def run(leases: list[Lease], *, failing: dict[str, Exception] | None = None, **more: Any) -> list[str]:
        stop = StopSignal()
        mailbox = PaperMailbox(leases, stop=stop, **more)
        mailbox.failing = failing or {}
        config = BoardConfig(host="head", port=22, board="pi", board_class="x86")
        Agent(home, config=config, incarnation="i", stop=stop, connect=lambda *_: mailbox).run()
        return mailbox.events

    return run


def test_the_next_artefact_is_fetched_before_timing_and_once(serve: Callable[..., list[str]]) -> None:
    events = serve([make_lease(1), make_lease(2), make_lease(3)])
    first = ["fetch l1", "fetch l2", "quiet l1", "result l1"]
    assert events == [*first, "fetch l2", "fetch l3", "quiet l2", "result l2", "fetch l3", "quiet l3", "result l3"]


def test_a_lease_that_comes_while_a_model_is_prepared_is_fetched_too(serve: Callable[..., list[str]]) -> None:
    events = serve([make_lease(1), make_lease(2)], appear={"l2": 3})
    assert events[:4] == ["fetch l1", "fetch l2", "quiet l1", "result l1"]


@pytest.mark.parametrize("error", [LinkError("cut"), ArtifactError("damaged")], ids=["link", "artefact"])
def test_what_goes_wrong_ahead_spoils_nothing(serve: Callable[..., list[str]], error: Exception) -> None:
    events = serve([make_lease(1), make_lease(2)], failing={"l2": error})
    assert events == ["fetch l1", "fetch l2", "quiet l1", "result l1", "fetch l2", "quiet l2", "result l2"]


def test_artefacts_that_would_drive_each_other_out_of_the_cache_are_fetched_in_turn(
    serve: Callable[..., list[str]],
) -> None:
    events = serve([make_lease(1, size_bytes=300 << 20), make_lease(2, size_bytes=300 << 20)])
    assert events == ["fetch l1", "quiet l1", "result l1", "fetch l2", "quiet l2", "result l2"]
