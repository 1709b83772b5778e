from __future__ import annotations

from collections.abc import Sequence

import pytest

from cluster import measurer
from cluster.measurer import GatewayMeasurer
from edge_agent.records import Artifact
from nas_service.commands.jobs import job_facts
from nas_service.fleet import BoardClass
from nas_service.job import parse_job
from nas_service.measurement import MeasurementRequest


class PaperGateway:
    def __init__(self) -> None:
        self.asked: list[MeasurementRequest] = []

    def board_classes(self) -> list[BoardClass]:
        return []

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        self.asked += requests


def request(name: str, *, priority: int = 0) -> MeasurementRequest:
    model = Artifact(sha256=name * 64, size_bytes=1)
    return MeasurementRequest(
        structure_key=name * 64, board_class="rpi5", tier="screen", half="little", model=model, priority=priority
    )


def order(gateway: PaperGateway) -> list[str]:
    return [asked.structure_key[0] for asked in sorted(gateway.asked, key=lambda one: -one.priority)]


def test_a_jobs_priority_counts_before_what_is_urgent_in_another_job() -> None:
    gateway = PaperGateway()
    GatewayMeasurer(gateway).request([request("d"), request("c", priority=1)])  # type: ignore[arg-type]
    GatewayMeasurer(gateway, priority=2).request([request("b"), request("a", priority=1)])  # type: ignore[arg-type]
    assert order(gateway) == ["a", "b", "c", "d"]


def test_a_priority_changes_nothing_else_of_a_request() -> None:
    gateway, plain = PaperGateway(), request("a")
    GatewayMeasurer(gateway, priority=9).request([plain])  # type: ignore[arg-type]
    assert gateway.asked[0].measurement_key == plain.measurement_key


def test_a_jobs_own_measurer_takes_the_priority_that_its_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = PaperGateway()
    monkeypatch.setattr(measurer, "find_gateway", lambda: gateway)
    monkeypatch.setattr(measurer, "GatewayClient", lambda handle: handle)
    spec = {
        "kind": "search",
        "name": "urgent",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 2},
        "strategy": {"name": "random", "evaluations": 8},
        "objectives": ["error", "latency_ms@rpi5"],
        "priority": 3,
    }
    asker = measurer.job_measurer(parse_job(spec))
    assert asker is not None
    asker.request([request("a", priority=1)])
    assert [asked.priority for asked in gateway.asked] == [31]
    assert measurer.job_measurer(parse_job({**spec, "objectives": ["error"], "priority": 0})) is None


def test_a_job_shows_its_priority_if_it_has_one() -> None:
    job = {"id": "j", "kind": "search", "state": "queued", "spec": {"priority": 3}}
    assert ("priority", "3") in job_facts(job)
    assert "priority" not in dict(job_facts({**job, "spec": {"priority": 0}}))
