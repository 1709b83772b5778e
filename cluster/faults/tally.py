"""What a campaign is judged by: nothing is lost, nothing is counted twice, no figure stands under another's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cluster.faults.board import figure_ms
from nas_service.fleet import Measurement
from nas_service.measurement import RequestState, RequestStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The outcome of a campaign.

    Attributes:
        results: How many measurements were asked for.
        faults: How many faults of each kind were injected.
        lost: Requests without an answer at the end, and results that a board handed in, was rid of, and that are not
            in the store.
        twice: Requests with more than one result that counted, and results that are stored more than once.
        mixed_up: Requests whose figure is another's.
        late: Results that came after their lease was over, and were kept as extra samples.
        asked_anew: Requests that were given up under the faults, and asked for again.
        seconds: How long it took.
    """

    results: int
    faults: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    twice: int = 0
    mixed_up: int = 0
    late: int = 0
    asked_anew: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost, counted twice or mixed up."""
        return self.lost == self.twice == self.mixed_up == 0

    def to_dict(self) -> dict[str, object]:
        """Return the outcome as JSON-able data."""
        return {
            "results": self.results,
            "faults": sum(self.faults.values()),
            "by_kind": self.faults,
            "lost": self.lost,
            "counted_twice": self.twice,
            "mixed_up": self.mixed_up,
            "late": self.late,
            "asked_anew": self.asked_anew,
            "seconds": round(self.seconds, 1),
        }


def tally(
    keys: Sequence[str],
    *,
    states: Mapping[str, RequestState],
    measured: Sequence[Measurement],
    handed_in: Mapping[str, str],
    faults: Mapping[str, int],
    asked_anew: int,
    seconds: float,
) -> Tally:
    """Return what became of the requests.

    Args:
        keys: What was asked for.
        states: Where each request stands at the end.
        measured: Every stored result, late ones too.
        handed_in: The leases of results that boards have made and are rid of, since they were acknowledged, by the
            results' ids. Two agents with one board's key may answer one lease; one of these answers is enough.
        faults: How many faults of each kind were injected.
        asked_anew: How many requests had to be asked for again.
        seconds: How long the campaign took.
    """
    stored = Counter(measurement.result.result_id for measurement in measured)
    counted = Counter(m.result.measurement_key for m in measured if not m.late and m.result.status == "ok")
    done = [key for key in keys if key in states and states[key].state is RequestStatus.DONE]
    wrong = [key for key in done if not _is_own(states[key], key)]
    answered = {measurement.result.lease_id for measurement in measured}
    vanished = [
        result_id for result_id, lease in handed_in.items() if result_id not in stored and lease not in answered
    ]
    return Tally(
        results=len(keys),
        faults=dict(faults),
        lost=len(keys) - len(done) + len(vanished),
        twice=sum(n > 1 for n in counted.values()) + sum(n > 1 for n in stored.values()),
        mixed_up=len(wrong),
        late=sum(m.late for m in measured),
        asked_anew=asked_anew,
        seconds=seconds,
    )


def _is_own(state: RequestState, key: str) -> bool:
    result = state.result
    if result is None or result.latency is None:
        return False
    return result.measurement_key == key and result.latency.mean_ms == figure_ms(key)
