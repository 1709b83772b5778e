"""How the dimensions of pairs changed while their supernet was trained: one step an epoch, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nas_service.errors import InvalidRequestError

VERSION = 1
_RENAMED = {"expected_macs": "expected_cost", "target_macs": "target_cost"}  # trajectories from when MACs were all


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolving:
    """One distribution over pairs at the end of an epoch.

    Attributes:
        probabilities: Gene -> the probability of each of its choices, in their order.
        expected_cost: Expected cost of an image, `little + escalation_rate * tail`; of a population,
            the mean of what its pairs take when all is escalated. None before they were looked at.
        target_cost: What the expected cost may be at most; None without a target.
        unit: Of both.
        multiplier: The Lagrange multiplier of that constraint; None without a target.
        escalation_rate: The mean that the co-trained router asks for, in [0, 1]; None without one.
    """

    probabilities: dict[str, tuple[float, ...]]
    expected_cost: float | None = None
    target_cost: float | None = None
    unit: str = "MACs"
    multiplier: float | None = None
    escalation_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryStep:
    """All distributions after `epoch` epochs; 0 is how they began.

    Attributes:
        phase: What the epoch was for, such as `warm_up`, `joint` or `fine_tune`.
        evolving: By name: a search with its target, or a population.
        evaluations: Pairs scored on validation images so far, by the search.
        search_macs: MACs that those scores cost so far.
    """

    epoch: int
    phase: str
    evolving: dict[str, Evolving]
    evaluations: int = 0
    search_macs: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON-able data, the exact inverse of `from_dict`."""
        return {
            "epoch": self.epoch,
            "phase": self.phase,
            "evolving": {name: _plain(one) for name, one in self.evolving.items()},
            "evaluations": self.evaluations,
            "search_macs": self.search_macs,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrajectoryStep:
        """Return the step in `data`; InvalidRequestError for unknown or missing keys."""
        _check_keys(data, ("epoch", "phase", "evolving", "evaluations", "search_macs"), what="a trajectory's step")
        return cls(**{**data, "evolving": {name: _evolving(one) for name, one in data["evolving"].items()}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Every dimension's distribution by epoch.

    Attributes:
        choices: Gene -> its values, in order.
        steps: In order of epochs.
    """

    choices: dict[str, tuple[Any, ...]]
    steps: tuple[TrajectoryStep, ...] = field(default=())

    def with_step(self, step: TrajectoryStep) -> Trajectory:
        """Return the trajectory with `step` in place of any of its epoch or later: what follows a rollback is new."""
        return replace(self, steps=(*(s for s in self.steps if s.epoch < step.epoch), step))

    def expected(self, name: str, gene: str) -> list[tuple[int, float]]:
        """Return (epoch, expected value) of a numeric gene of the distribution `name`."""
        values = self.choices[gene]
        return [
            (step.epoch, sum(p * v for p, v in zip(step.evolving[name].probabilities[gene], values, strict=True)))
            for step in self.steps
            if name in step.evolving and gene in step.evolving[name].probabilities
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the trajectory as JSON-able data, the exact inverse of `from_dict`."""
        return {
            "version": VERSION,
            "choices": {name: list(values) for name, values in self.choices.items()},
            "steps": [step.to_dict() for step in self.steps],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trajectory:
        """Return the trajectory in `data`; InvalidRequestError for another version, unknown or missing keys."""
        _check_keys(data, ("version", "choices", "steps"), what="a trajectory")
        if data["version"] != VERSION:
            raise InvalidRequestError(f"a trajectory has version {data['version']!r} but this code reads {VERSION}")
        return cls(
            choices={name: tuple(values) for name, values in data["choices"].items()},
            steps=tuple(TrajectoryStep.from_dict(step) for step in data["steps"]),
        )


def _plain(one: Evolving) -> dict[str, Any]:
    return {
        "probabilities": {gene: list(values) for gene, values in one.probabilities.items()},
        "expected_cost": one.expected_cost,
        "target_cost": one.target_cost,
        "unit": one.unit,
        "multiplier": one.multiplier,
        "escalation_rate": one.escalation_rate,
    }


def _evolving(data: Mapping[str, Any]) -> Evolving:
    named = {_RENAMED.get(name, name): value for name, value in data.items()}
    _check_keys(
        {"unit": "MACs", **named}, tuple(f.name for f in fields(Evolving)), what="a distribution of a trajectory"
    )
    return Evolving(**{**named, "probabilities": {gene: tuple(p) for gene, p in data["probabilities"].items()}})


def _check_keys(data: Mapping[str, Any], names: tuple[str, ...], *, what: str) -> None:
    if set(data) != set(names):
        raise InvalidRequestError(f"{what} has the keys {sorted(data)} but needs exactly {sorted(names)}")
