from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.records import Artifact, RecordError, RuntimeSettings, stable_hash
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus, measurement_key

REQUEST = MeasurementRequest(
    structure_key=stable_hash("structure"),
    board_class="rpi5",
    tier="screen",
    half="little",
    model=Artifact(sha256="0" * 64, size_bytes=10),
)


@pytest.mark.parametrize(
    "change",
    [
        {"structure_key": stable_hash("other")},
        {"board_class": "jetson"},
        {"tier": "rank"},
        {"half": "big"},
        {"settings": RuntimeSettings(threads=2)},
        {"settings": RuntimeSettings(arena=False)},
        {"settings": RuntimeSettings(provider="CUDAExecutionProvider")},
    ],
)
def test_key_differs_where_a_figure_could_not_stand_for_the_other(change: dict[str, Any]) -> None:
    assert replace(REQUEST, **change).measurement_key != REQUEST.measurement_key


@pytest.mark.parametrize(
    "change",
    [
        {"model": Artifact(sha256="1" * 64, size_bytes=11)},
        {"job_id": "another"},
        {"priority": 5},
        {"settings": RuntimeSettings(measure_timeout_s=7.0, prepare_timeout_s=9.0)},
    ],
)
def test_key_is_shared_by_whatever_leaves_the_figure_alone(change: dict[str, Any]) -> None:
    assert replace(REQUEST, **change).measurement_key == REQUEST.measurement_key


def test_key_stays_what_it_was_so_that_stored_figures_are_found_again() -> None:
    settings = RuntimeSettings()
    key = measurement_key("0" * 64, tier="probe", board_class="rpi5", settings=settings, half="big")
    assert key == "b3f6ef636ec549837a1f0aa71dcd9fbf2095a7a55fcf6a787f05799fc2505921"


def test_request_without_a_structure_is_refused() -> None:
    with pytest.raises(RecordError, match="64 lower-case hexadecimal digits"):
        replace(REQUEST, structure_key="conv3x3")


@pytest.mark.parametrize(("state", "final"), [("queued", False), ("leased", False), ("done", True), ("failed", True)])
def test_state_says_whether_waiting_helps(state: str, final: bool) -> None:
    assert RequestState(measurement_key="0" * 64, state=RequestStatus(state)).is_final is final
