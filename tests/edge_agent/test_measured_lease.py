"""From a lease to its result: whether health, sentinel and throttling really decide, and what is only noted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from edge_agent import work
from edge_agent.cooling import Cooling
from edge_agent.lifetime import StopSignal
from edge_agent.measuring import Measurement
from edge_agent.records import Latency, Lease, Result
from edge_agent.verdict import Verdict
from edge_agent.work import Workplace, answer, measure_lease
from tests.edge_agent.test_fetching_ahead import make_lease

CALM: dict[str, Any] = {
    "throttled_now": [],
    "throttled_since_boot": [],
    "under_voltage_alarm": None,
    "over_current_events": {},
    "cooling_states": {},
    "governors": ["performance"],
    "power_mode": "0001",
    "cores_online": "0-3",
    "clock_measured_mhz": None,
    "spin_ns": 10.0,
    "memory_stall_ms": 0.0,
    "swapped_pages": 0,
}
FIGURES = Latency(
    n=1000,
    duration_s=20.0,
    mean_ms=2.0,
    median_ms=2.0,
    min_ms=1.9,
    max_ms=2.1,
    cv=0.01,
    mean_ci95_low_ms=1.999,
    mean_ci95_high_ms=2.001,
    warmup_n=10,
    cold_start_ms=3.0,
)

COOL = Cooling(waited_s=0.0, from_c=None, to_c=None, start_c=60.0)

Measure = Callable[..., Result]


class PaperSentinel:
    """Takes the times that it is given, in turn; always due."""

    def __init__(self, *times_ms: float) -> None:
        self.left_ms = list(times_ms)

    def is_due(self, tier: str) -> bool:
        return True

    def read_ms(self, *, supervision: object) -> float:
        return self.left_ms.pop(0)

    def slower_cause(self, reading_ms: float) -> str | None:
        return None


class SeenThrottling:
    """A watch that saw the firmware throttle, and whose sticky bit was set before."""

    def __init__(self, root: Path) -> None:
        self.seen, self.cooling = {"throttled"}, dict[str, int]()

    def __enter__(self) -> SeenThrottling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure a lease on a board whose health becomes `after`, with a child that always succeeds."""
    monkeypatch.setattr(
        work, "measure_file", lambda *_, **__: Measurement(verdict=Verdict(status="ok"), latency=FIGURES)
    )

    def measure(
        *,
        after: dict[str, Any] | None = None,
        sentinel: PaperSentinel | None = None,
        tier: str = "rank",
        local: bool = False,
    ) -> Result:
        healths = [CALM, {**CALM, **(after or {})}]
        monkeypatch.setattr(work, "read_health", lambda **_: dict(healths.pop(0)))
        monkeypatch.setattr(work, "cool_down", lambda *_, **__: COOL)
        stop = StopSignal()
        lease = Lease.from_dict({**make_lease(1).to_dict(), "tier": tier})
        return measure_lease(
            answer(lease, incarnation="i"),
            lease=lease,
            model=tmp_path / "model.onnx",
            place=Workplace(work=tmp_path, sensor=None, sentinel=sentinel, local=local),  # type: ignore[arg-type]
            stop=stop,
            give_up_at=time.monotonic() + 60,
            beat=lambda quiet_s: None,
        )

    return measure


def test_a_calm_board_gives_its_figures(measured: Measure) -> None:
    result = measured(sentinel=PaperSentinel(1.0, 1.01))
    assert (result.status, result.latency) == ("ok", FIGURES)
    assert result.health["sentinel"] == {"before_ms": 1.0, "after_ms": 1.01}


@pytest.mark.parametrize(
    ("after", "status", "cause"),
    [
        ({"throttled_now": ["throttled"]}, "throttled", "the firmware reports throttled"),
        ({"power_mode": "0002"}, "throttled", "power mode changed from 0001 to 0002"),
        ({"spin_ns": 13.0}, "throttled", "a fixed loop took 30% longer"),
        ({"swapped_pages": 5000}, "noisy", "5000 pages were swapped"),
    ],
)
def test_a_board_whose_health_changed_gives_none(
    measured: Measure, after: dict[str, Any], status: str, cause: str
) -> None:
    result = measured(after=after)
    assert (result.status, result.fault) == (status, "board")
    assert cause in (result.cause or "")
    assert result.health["after"] == {**CALM, **after, "throttled_meanwhile": [], "cooling_meanwhile": {}}


def test_what_the_watch_saw_meanwhile_counts(measured: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "ThrottleWatch", SeenThrottling)
    assert measured().status == "throttled"


def test_on_a_shared_machine_only_throttling_counts(measured: Measure) -> None:
    assert measured(after={"power_mode": "0002", "swapped_pages": 5000}, local=True).status == "ok"
    assert measured(after={"throttled_now": ["throttled"]}, local=True).status == "throttled"


def test_a_sentinel_that_changed_by_more_than_a_tenth_rejects_the_measurement(measured: Measure) -> None:
    result = measured(sentinel=PaperSentinel(1.0, 1.2))
    assert (result.status, result.fault) == ("drift", "board")
    assert "the sentinel took +20.0%" in (result.cause or "")
    noted = measured(sentinel=PaperSentinel(1.0, 1.2), local=True)
    assert (noted.status, noted.health["sentinel"]["after_ms"]) == ("ok", 1.2)


def test_a_measurement_that_is_rejected_anyway_costs_no_second_sentinel(measured: Measure) -> None:
    sentinel = PaperSentinel(1.0, 1.2)
    assert measured(after={"throttled_now": ["throttled"]}, sentinel=sentinel).status == "throttled"
    assert sentinel.left_ms == [1.2]
