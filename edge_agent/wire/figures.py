"""What timing gave: latency and memory of a run, and what only a pair measured whole tells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from edge_agent.wire.ranges import check_ascending, check_not_negative, check_positive, check_share
from edge_agent.wire.record import Record, RecordError

_PERCENTILES = ("median_ms", "p90_ms", "p95_ms", "p99_ms")
_INTERVAL = ("mean_ci95_low_ms", "mean_ms", "mean_ci95_high_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Record):
    """What timing single inferences gave. Percentiles are None below the n that bounds them (n >= 64 for p90)."""

    n: int
    duration_s: float
    mean_ms: float
    median_ms: float
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    min_ms: float
    max_ms: float
    cv: float
    mean_ci95_low_ms: float
    mean_ci95_high_ms: float
    warmup_n: int
    cold_start_ms: float
    outliers: int = 0
    drift_fraction: float | None = None

    def __post_init__(self) -> None:
        check_positive(self, "n", "duration_s", "mean_ms", "median_ms")
        check_not_negative(self, "min_ms", "cv", "warmup_n", "cold_start_ms", "outliers")
        check_ascending(self, "min_ms", *_PERCENTILES, "max_ms")
        check_ascending(self, "min_ms", "mean_ms", "max_ms")
        check_ascending(self, *_INTERVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Record):
    """Peak resident memory of the child, less that after importing onnxruntime."""

    baseline_kib: int
    peak_load_kib: int
    peak_run_kib: int
    model_file_bytes: int

    def __post_init__(self) -> None:
        check_not_negative(self, "baseline_kib", "peak_load_kib", "peak_run_kib")
        check_positive(self, "model_file_bytes")
        if self.memory_kib < 0:
            raise RecordError(
                f"peak_load_kib is {self.peak_load_kib} and peak_run_kib {self.peak_run_kib} but one must be at least "
                f"baseline_kib, which is {self.baseline_kib}"
            )

    @property
    def memory_kib(self) -> int:
        """The objective `memory_kib`: peak after the run less the baseline."""
        return max(self.peak_load_kib, self.peak_run_kib) - self.baseline_kib


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCost(Record):
    """What one route of a pair costs, measured as it runs: `big` is the little, the decision and the big after it.

    `share` is how much of the cluster's images take the route. Energy is per inference, from a window of this route.
    """

    route: Literal["little", "big"]
    share: float
    n: int
    mean_ms: float
    median_ms: float
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    mean_ci95_low_ms: float
    mean_ci95_high_ms: float
    gross_mj: float | None = None
    net_mj: float | None = None

    def __post_init__(self) -> None:
        check_share(self, "share")
        check_positive(self, "n", "mean_ms", "median_ms", "gross_mj")
        check_ascending(self, *_PERCENTILES)
        check_ascending(self, *_INTERVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures(Record):
    """What only a pair measured whole tells; its Result's `latency` is the routes' costs weighted by their shares.

    `route_agreement` is the share of the stream's images that the board routes as the cluster did. The replay is the
    stream in its natural order, routed by the board; `interaction_fraction` is how far its mean is from the routes'
    costs. `flags` names what a reader must know: `route_mismatch`, `interaction`, `process_spread`, `idle_drift`.
    """

    operating_point: str
    routes: tuple[RouteCost, ...]
    stream_n: int
    route_agreement: float
    stream_accuracy: float | None = None
    max_score_error: float
    replay_n: int
    replay_mean_ms: float | None = None
    replay_escalation_rate: float | None = None
    interaction_fraction: float | None = None
    process_means_ms: tuple[float, ...]
    first_minute_ms: float | None = None
    last_minute_ms: float | None = None
    stages_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if [route.route for route in self.routes] != ["little", "big"]:
            raise RecordError(f"routes are {[route.route for route in self.routes]} but must be little and big")
        check_share(self, "route_agreement", "stream_accuracy", "replay_escalation_rate")
        check_positive(self, "stream_n", "replay_n", "replay_mean_ms", "first_minute_ms", "last_minute_ms")
        check_not_negative(self, "max_score_error")
        if not all(mean > 0 for mean in self.process_means_ms):
            raise RecordError(f"process_means_ms are {self.process_means_ms} but must be above 0")

    def mean_ms(self, escalation_rate: float) -> float:
        """Return the expected latency at any threshold, by the share of images that it escalates."""
        little, big = self.routes
        return little.mean_ms + escalation_rate * (big.mean_ms - little.mean_ms)
