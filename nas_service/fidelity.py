"""How far a search's shortcuts can be trusted, from what its finished candidates became.

Three questions: do shared weights order pairs as weights of their own do (Kendall's tau of accuracy, before and after
fine-tuning, and against training alone where that was asked for); how far were costs off that were put together from
halves; and how many of the points that the search chose are still on the front by the final figures. Few finalists
say little, so every tau has its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nas_service.front import non_dominated
from nas_service.seed_statistics import Tau, kendall, tau_interval

AUDIT, PREDICTOR = "stand_alone", "predictor"
HALVES = ("little", "big")
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
    """What finalists were taken to cost, composed of halves measured apart, against the same pairs measured whole.

    `mape` is the mean absolute error, over operating points, in percent; `tau` how alike both order the `n` finalists.
    """

    objective: str
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
    """Of `of` finalists, `stayed` still have a point that no other finalist's beats, by test error and this cost."""

    cost: str
    stayed: int
    of: int


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


Composed = Callable[[str, str], tuple[float, float] | None]
"""Candidate and objective -> what the little always and the big on escalation cost, measured apart; None if unknown."""


def audit(
    candidates: Iterable[Audited],
    events: Iterable[Entry] = (),
    *,
    composed: Composed = lambda candidate_id, objective: None,
) -> Fidelity:
    """Return the audit of a job's candidates and of the trainings alone that its events tell of."""
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
        costs=tuple(_cost_errors(finalists, composed)),
        stayed=tuple(_stayed(finalists)),
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


def _points(candidate: Audited, cost: str) -> list[tuple[float, float]]:
    """Return (test error in percent, expected cost) of a finalist's operating points."""
    found = []
    for point in candidate.final.get("operating_points") or ():
        test = point.get("test") or {}
        price = (test.get("expected_cost") or {}).get(cost)
        if price is not None and test.get("accuracy") is not None:
            found.append((100 * (1 - float(test["accuracy"])), float(price)))
    return found


def _costs(candidate: Audited) -> set[str]:
    points = candidate.final.get("operating_points") or ()
    return {name for point in points for name in (point.get("test") or {}).get("expected_cost") or {}}


def _measured_again(candidate: Audited, cost: str) -> bool:
    """Return whether a finalist's own pair was measured whole on the cost's class of boards."""
    measured = (candidate.final.get("measurements") or {}).get(cost.partition("@")[2]) or {}
    return any(name.startswith("pair-") for name in measured)


def _stayed(finalists: Sequence[Audited]) -> Iterable[Stayed]:
    for cost in sorted({name for c in finalists for name in _costs(c)}):
        if cost != "macs" and not any(_measured_again(c, cost) for c in finalists):
            continue
        rows = [(i, point) for i, c in enumerate(finalists) for point in _points(c, cost)]
        owners = {i for i, _ in rows}
        if len(owners) > 1:
            mask = non_dominated([point for _, point in rows])
            yield Stayed(cost=cost, stayed=len({rows[k][0] for k in np.flatnonzero(mask)}), of=len(owners))


def _cost_errors(finalists: Sequence[Audited], composed: Composed) -> Iterable[CostError]:
    """Yield how far latencies composed from halves are from those of pairs measured whole, at the same routing."""
    for cost in sorted({name for c in finalists for name in _costs(c) if name.startswith("latency_ms@")}):
        before, after, off = [], [], []
        for candidate in finalists:
            halves = composed(candidate.id, cost) if _measured_again(candidate, cost) else None
            rows = [(float(test["escalation_rate"]), float(test["expected_cost"][cost]))
                    for point in candidate.final.get("operating_points") or ()
                    if cost in ((test := point.get("test") or {}).get("expected_cost") or {})]  # fmt: skip
            if halves is None or not rows:
                continue
            rates, whole = np.array(rows).T
            guess = halves[0] + rates * halves[1]
            off += (np.abs(guess - whole) / whole).tolist()
            before.append(float(guess.mean()))
            after.append(float(whole.mean()))
        if before:
            yield CostError(objective=cost, n=len(before), mape=100 * float(np.mean(off)), tau=kendall(before, after))


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
        facts.append(
            (
                f"{c.objective}: halves put together against the pair whole",
                f"off by {c.mape:.1f} %; tau {tau_text(c.tau)}",
            )
        )
    for s in fidelity.stayed:
        what = "counted" if "@" not in s.cost else "measured again"
        facts.append((f"finalists still on their front, test error against {s.cost} {what}", f"{s.stayed} of {s.of}"))
    return facts
