"""Watching the escalation rate: has the world changed since calibration, and what to do then. Standard library only.

The threshold was calibrated for some escalation rate. A rate that leaves its band says that inputs are no longer those
of calibration; a net that has become falsely sure escalates *less* (Mehra et al., arXiv 2212.01562).

Sequential change detection by betting: e-detectors (Shin, Ramdas and Rinaldo, arXiv 2203.03532). For each bet,
`M <- max(M, 1) * (1 + bet * (x - high))` with x = 1 if the input would be escalated; while the chance of that, given
the past, is at most `high`, the mean of these over fixed bets is an e-detector: the expected number of inputs until it
reaches A is at least A. Likewise for `low`, and each side has to reach 2 A, so that false alarms come on average at
most once in A inputs, however often one looks. Inputs that resemble their neighbours, such as frames of a video, break
the assumption: give one of many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Drift = Literal["none", "low", "high"]
Action = Literal["always", "keep"]
_STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # how far towards 0 or 1 the rate went, for which each bet is best
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Escalation rates, in [0, 1], that are as calibration promised."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"band is {self.low} to {self.high} but must be 0 <= low <= high <= 1")

    @classmethod
    def around(cls, rate: float, *, calibration_n: int, margin: float = 0.02, deviations: float = 3.0) -> Band:
        """Return the rate, give or take `margin` and the calibration's own error of so many standard deviations.

        Args:
            rate: Promised escalation rate, in [0, 1].
            calibration_n: Images that it was estimated on, >= 1.
            margin: Change that is nobody's concern, in [0, 1].
            deviations: Binomial standard deviations.

        Raises:
            ValueError: If a value is out of range.
        """
        if not (0 <= rate <= 1 and calibration_n >= 1 and margin >= 0):
            raise ValueError(
                f"rate {rate}, calibration_n {calibration_n}, margin {margin}; give a rate in [0, 1], at least one "
                "image and a margin >= 0"
            )
        half = margin + deviations * math.sqrt(rate * (1 - rate) / calibration_n)
        return cls(low=max(0.0, rate - half), high=min(1.0, rate + half))


class _Detector:
    """Evidence that the chance of an event has come to exceed `limit`, as a mean of bets that restart at 1."""

    def __init__(self, limit: float) -> None:
        # For a chance of limit + s (1 - limit), the best bet is s / limit (Kelly). None is needed if none can exceed.
        self._limit = limit
        self._bets = tuple(s / max(limit, 1e-6) for s in _STRENGTHS) if limit < 1 else ()
        self.capital = [0.0] * len(self._bets)

    def observe(self, event: bool) -> float:
        """Return the evidence after one more input."""
        change = (1.0 if event else 0.0) - self._limit
        self.capital = [max(m, 1.0) * (1 + bet * change) for m, bet in zip(self.capital, self._bets, strict=True)]
        return sum(self.capital) / len(self.capital) if self.capital else 0.0

    def forget(self) -> None:
        self.capital = [0.0] * len(self._bets)


class DriftMonitor:
    """Says after every input whether the escalation rate has drifted out of its band, and when it is back.

    Feed it what the threshold says, not what was done: in fallback the little still runs, and its wish is observed.
    """

    def __init__(self, band: Band, *, false_alarm_every: float = 100_000, false_recovery_every: float = 10_000) -> None:
        if false_alarm_every < 1 or false_recovery_every < 1:
            raise ValueError(
                f"false alarms every {false_alarm_every} and false recoveries every {false_recovery_every} inputs; "
                "both must be >= 1"
            )
        self.band = band
        self.drift: Drift = "none"
        self.seen, self.wanted = 0, 0
        self._alarm_at, self._recover_at = 2 * false_alarm_every, false_recovery_every
        self._alarms = {"low": _Detector(1 - band.low), "high": _Detector(band.high)}
        # Back from `low` is evidence for a rate above the lower limit, back from `high` for one below the upper.
        self._recoveries = {"low": _Detector(band.low), "high": _Detector(1 - band.high)}

    def observe(self, wants_escalation: bool) -> Drift:
        """Return the drift after one more input, for which the threshold said `wants_escalation`."""
        self.seen, self.wanted = self.seen + 1, self.wanted + wants_escalation
        if self.drift != "low" and self._alarms["low"].observe(not wants_escalation) >= self._alarm_at:
            return self._enter("low")
        if self.drift != "high" and self._alarms["high"].observe(wants_escalation) >= self._alarm_at:
            return self._enter("high")
        if self.drift != "none":
            is_for_recovery = wants_escalation == (self.drift == "low")
            if self._recoveries[self.drift].observe(is_for_recovery) >= self._recover_at:
                return self._enter("none")
        return self.drift

    def as_text(self) -> str:
        """Return the state in one line."""
        limits = f"{100 * self.band.low:.1f} to {100 * self.band.high:.1f} %"
        verdict = {
            "none": "none",
            "low": "low: the net has become surer than at calibration, every image goes to the big",
            "high": "high: the net has become less sure than at calibration, every image goes to the big",
        }[self.drift]
        return f"{verdict} ({self.wanted} of {self.seen} below the threshold; as promised: {limits})"

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values, so that evidence outlives a restart."""
        return {
            "version": _VERSION,
            "drift": self.drift,
            "alarms": {side: list(detector.capital) for side, detector in self._alarms.items()},
            "recoveries": {side: list(detector.capital) for side, detector in self._recoveries.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `to_dict` of a monitor with the same band returned.

        Raises:
            ValueError: If the state is of another form.
        """
        detectors = {("alarms", side): detector for side, detector in self._alarms.items()}
        detectors |= {("recoveries", side): detector for side, detector in self._recoveries.items()}
        try:
            if state["version"] != _VERSION or state["drift"] not in ("none", "low", "high"):
                raise ValueError(f"version {state['version']}, drift {state['drift']!r}")
            capitals = {key: [float(m) for m in state[key[0]][key[1]]] for key in detectors}
            if any(len(capitals[key]) != len(detector.capital) for key, detector in detectors.items()):
                raise ValueError("another number of bets")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no state of a drift monitor ({error}); start with a new monitor") from None
        self.drift = state["drift"]
        for key, detector in detectors.items():
            detector.capital = capitals[key]

    def _enter(self, drift: Drift) -> Drift:
        self.drift = drift
        for detector in (*self._alarms.values(), *self._recoveries.values()):
            detector.forget()
        return drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What to do while the rate has drifted.

    `always` escalates every input: dearer, and as accurate as the big is. `keep` goes on by the threshold. By default
    both sides fall back, so that a routed system is never worse than its big for longer than the alarm takes.
    """

    on_low: Action = "always"
    on_high: Action = "always"

    def __post_init__(self) -> None:
        for action in (self.on_low, self.on_high):
            if action not in ("always", "keep"):
                raise ValueError(f"fallback is {action!r}; choose one of: always, keep")

    def escalates(self, drift: Drift, *, wants_escalation: bool) -> bool:
        """Return whether to run the big on this input."""
        action = {"none": "keep", "low": self.on_low, "high": self.on_high}[drift]
        return wants_escalation or action == "always"
