"""How far a search's shortcuts can be trusted, from what its finished candidates became.

Three questions: do shared weights order pairs as weights of their own do (Kendall's tau of accuracy, before and after
fine-tuning, and against training alone where that was asked for); how far were latencies off that were put together
from halves as the search measured them; and how many of the points that it would have handed over are still on the
front by the final figures. Few finalists say little, so every tau has its interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from nas_service.front import non_dominated
from nas_service.seed_statistics import Tau, kendall, tau_interval

AUDIT, PREDICTOR = "stand_alone", "predictor"
HALVES = ("little", "big")
LATENCY = "latency_ms@"
_AGAINST = {
    "fine-tuned": "after fine-tuning, on test images",
    "finished": "as bundled without fine-tuning, on test images",
    "alone": "trained alone from scratch, on the same validation images",
}


class Entry(Protocol):
    """One event of a job."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def data(self) -> dict[str, Any]:
        """Its figures."""


class Audited(Protocol):
    """What a candidate must tell; the store's and the report's do."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def accuracies(self) -> dict[str, float]:
        """Of both halves with shared weights, in percent."""

    @property
    def measurements(self) -> dict[str, dict[str, str]]:
        """What the search measured: measurement key by half by board class."""

    @property
    def final(self) -> dict[str, Any]:
        """What became of a finalist; empty of others."""

    @property
    def finalist(self) -> bool:
        """Whether it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One half's accuracy with shared weights against another: `against` is `fine-tuned`, `finished` or `alone`.

    `gain` is the mean of the other less the shared one, in points; `tau` how alike both order the pairs.
    """

    half: str
    against: str
    tau: Tau
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostError:
    """What finalists were taken to cost, by the search's halves, against the same pairs measured again.

    `whole` tells whether that was the pair in one piece, or its halves once more. `mape` is the mean absolute error,
    over operating points, in percent; `tau` how alike both order the `n` finalists.
    """

    objective: str
    whole: bool
    n: int
    mape: float
    tau: Tau


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """How halves' costs were predicted, each half left out of its fit: mean error in percent, and order.

    `used` tells whether the search decided by it or could have; `spared` is how many candidates were not measured
    because of it, None where that was not counted.
    """

    objective: str
    mape: float
    tau: Tau
    used: bool
    spared: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stayed:
    """What became of the front by the final figures, test error against one cost.

    Of `of` finalists, `stayed` have a point that no other finalist's beats. Of `points_of` operating points that were
    on the finalists' front by what was promised of them, calibration accuracy at the search's cost, `points` still are.
    """

    cost: str
    stayed: int
    of: int
    points: int
    points_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """All that an audit tells; what cannot be told is absent."""

    agreements: tuple[Agreement, ...] = ()
    predictors: tuple[Predictor, ...] = ()
    costs: tuple[CostError, ...] = ()
    stayed: tuple[Stayed, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.agreements or self.predictors or self.costs or self.stayed)


def audit(
    candidates: Iterable[Audited],
    events: Iterable[Entry] = (),
    *,
    latencies_ms: Mapping[str, float] | None = None,
) -> Fidelity:
    """Return the audit of a job's candidates and of the trainings alone that its events tell of.

    Args:
        candidates: All of them.
        events: The job's.
        latencies_ms: Measurement key -> mean latency; what the search's halves cost cannot be told without.
    """
    every, told = list(candidates), list(events)
    finalists = [c for c in every if c.finalist and c.final.get("accuracies")]
    tuned = any(int(c.final.get("fine_tune_epochs") or 0) > 0 for c in finalists)
    after = {c.id: c.final["accuracies"] for c in finalists}
    alone = {str(e.data["candidate"]): e.data["accuracies"] for e in told if e.kind == AUDIT}
    predictors = {str(e.data["objective"]): _predictor(e.data) for e in told if e.kind == PREDICTOR}
    agreements = [
        *_agreements(every, after, against="fine-tuned" if tuned else "finished"),
        *_agreements(every, alone, against="alone"),
    ]
    return Fidelity(
        agreements=tuple(agreements),
        predictors=tuple(predictors.values()),
        costs=tuple(_cost_errors(finalists, latencies_ms or {})),
        stayed=tuple(_stayed(finalists, latencies_ms or {})),
    )


def _predictor(data: Mapping[str, Any]) -> Predictor:
    tau = tau_interval(float(data["tau"]), int(data["halves"]))
    return Predictor(
        objective=str(data["objective"]),
        mape=float(data["mape"]),
        tau=tau,
        used=bool(data["used"]),
        spared=data.get("spared"),
    )


def _agreements(
    candidates: Sequence[Audited], others: Mapping[str, Mapping[str, float]], *, against: str
) -> Iterable[Agreement]:
    for half in HALVES:
        pairs = [
            (c.accuracies[half], float(others[c.id][half]))
            for c in candidates
            if c.id in others and half in c.accuracies and half in others[c.id]
        ]
        if len(pairs) > 1:
            before, after = zip(*pairs, strict=True)
            gain = float(np.mean(np.subtract(after, before)))
            yield Agreement(half=half, against=against, tau=kendall(before, after), gain=gain)


def _halves_ms(candidate: Audited, cost: str, latencies_ms: Mapping[str, float]) -> tuple[float, float] | None:
    """Return what the little always and the big on escalation cost by the search; None if it did not measure both."""
    keys = candidate.measurements.get(cost.partition("@")[2], {})
    found = [latencies_ms.get(keys.get(half, "")) for half in HALVES]
    little, big = found if cost.startswith(LATENCY) else (None, None)
    return None if little is None or big is None else (little, big)


def _costs(candidate: Audited) -> set[str]:
    points = candidate.final.get("operating_points") or ()
    return {name for point in points for name in (point.get("test") or {}).get("expected_cost") or {}}


def _measured_again(candidate: Audited, cost: str) -> bool:
    """Return whether boards of the cost's class measured the finalist again: its own pair whole, or at another tier."""
    board_class = cost.partition("@")[2]
    measured = (candidate.final.get("measurements") or {}).get(board_class) or {}
    return bool(measured) and measured != candidate.measurements.get(board_class)


def _measured_whole(candidate: Audited, cost: str) -> bool:
    measured = (candidate.final.get("measurements") or {}).get(cost.partition("@")[2]) or {}
    return any(name.startswith("pair-") for name in measured)


Row: TypeAlias = tuple[float, float]
"""Error in percent, and expected cost."""


def _points(candidate: Audited, cost: str, halves: tuple[float, float] | None) -> list[tuple[Row, Row]]:
    """Return a finalist's operating points, as they were promised at the search's cost and as they came out."""
    found = []
    for point in candidate.final.get("operating_points") or ():
        test = point.get("test") or {}
        promise = point.get("calibration") or test
        after = (test.get("expected_cost") or {}).get(cost)
        if after is None or test.get("accuracy") is None:
            continue
        before = (promise.get("expected_cost") or {}).get(cost, after)
        if halves is not None and "escalation_rate" in promise:
            before = halves[0] + float(promise["escalation_rate"]) * halves[1]
        errors = [100 * (1 - float(one["accuracy"])) for one in (promise, test)]
        found.append(((errors[0], float(before)), (errors[1], float(after))))
    return found


def _stayed(finalists: Sequence[Audited], latencies_ms: Mapping[str, float]) -> Iterable[Stayed]:
    for cost in sorted({name for c in finalists for name in _costs(c)}):
        if cost != "macs" and not any(_measured_again(c, cost) for c in finalists):
            continue
        rows = [
            (i, row)
            for i, finalist in enumerate(finalists)
            for row in _points(finalist, cost, _halves_ms(finalist, cost, latencies_ms))
        ]
        owners = {i for i, _ in rows}
        if len(owners) > 1:
            was, stays = (non_dominated([row[k] for _, row in rows]) for k in (0, 1))
            yield Stayed(
                cost=cost,
                stayed=len({rows[k][0] for k in np.flatnonzero(stays)}),
                of=len(owners),
                points=int((was & stays).sum()),
                points_of=int(was.sum()),
            )


def _cost_errors(finalists: Sequence[Audited], latencies_ms: Mapping[str, float]) -> Iterable[CostError]:
    """Yield how far latencies composed from the search's halves are from those measured again, at the same routing."""
    for cost in sorted({name for c in finalists for name in _costs(c) if name.startswith(LATENCY)}):
        before, after, off = [], [], []
        for candidate in finalists:
            halves = _halves_ms(candidate, cost, latencies_ms) if _measured_again(candidate, cost) else None
            rows = [(float(test["escalation_rate"]), float(test["expected_cost"][cost]))
                    for point in candidate.final.get("operating_points") or ()
                    if cost in ((test := point.get("test") or {}).get("expected_cost") or {})]  # fmt: skip
            if halves is None or not rows:
                continue
            rates, again = np.array(rows).T
            guess = halves[0] + rates * halves[1]
            off += (np.abs(guess - again) / again).tolist()
            before.append(float(guess.mean()))
            after.append(float(again.mean()))
        if before:
            whole = any(_measured_whole(c, cost) for c in finalists)
            mape, tau = 100 * float(np.mean(off)), kendall(before, after)
            yield CostError(objective=cost, whole=whole, n=len(before), mape=mape, tau=tau)


def tau_text(tau: Tau) -> str:
    """Return a tau with its interval and number, and what so few can say."""
    if tau.tau is None:
        return f"no tau from {tau.n} pairs: one column does not tell them apart"
    if tau.low is None or tau.high is None:
        return f"{tau.tau:.2f} of {tau.n} pairs, too few for an interval"
    return f"{tau.tau:.2f} ({tau.low:.2f} to {tau.high:.2f}) of {tau.n} pairs"


def fidelity_facts(fidelity: Fidelity) -> list[tuple[str, str]]:
    """Return the audit as (question, answer)."""
    facts = []
    for a in fidelity.agreements:
        question = f"{a.half}: shared weights against the pair {_AGAINST[a.against]}"
        facts.append((question, f"tau {tau_text(a.tau)}; mean change {a.gain:+.2f} points"))
    for p in fidelity.predictors:
        spared = "" if p.spared is None else f"; {p.spared} candidates not measured because of it"
        used = spared if p.used else "; not good enough, so not used"
        facts.append(
            (f"{p.objective}: halves predicted from the others", f"off by {p.mape:.1f} %; tau {tau_text(p.tau)}{used}")
        )
    for c in fidelity.costs:
        again = "the pair whole" if c.whole else "halves measured again"
        question = f"{c.objective}: halves put together against {again}"
        facts.append((question, f"off by {c.mape:.1f} %; tau {tau_text(c.tau)}"))
    for s in fidelity.stayed:
        what = "counted" if "@" not in s.cost else "measured again"
        answer = f"{s.points} of {s.points_of} points; {s.stayed} of {s.of} finalists have one"
        facts.append((f"still on the finalists' front, test error against {s.cost} {what}", answer))
    return facts
