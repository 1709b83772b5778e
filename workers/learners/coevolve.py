"""A supernet whose sampling distribution evolves: a population of pairs draws the training towards itself.

Every few epochs the population is scored with the weights it has inherited, on a slice of the validation split, its
BatchNorm recalibrated, and moves by an evolutionary step over accuracy and expected MACs (as in EDANAS and HADAS, arXiv
2212.03354, but while the weights are still trained). A share of the sandwich's random pairs are mutants of its members,
the others stay uniform, so that the supernet remains one for the whole space.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nas_service.choice_space import Point
from nas_service.curve import Curve
from nas_service.plan import Coupling, PairPlan
from nas_service.trajectory import Evolving, Trajectory, TrajectoryStep
from workers.evaluation import EvaluationContext, evaluate
from workers.evolving.memory import remembered
from workers.evolving.population import frequencies, step
from workers.evolving.settings import Coevolution
from workers.learners.sandwich import SandwichLearner
from workers.sampling import Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig

NAME = "population"


class CoevolveLearner(SandwichLearner):
    """The learner of all pairs of a space, and of the population in particular.

    Args:
        supernet: Trained in place; its space's constraints hold for the population.
        config: Weights of the loss terms.
        settings: How the population evolves.
        context: The images that it is scored on, of the validation split.
        router: Whose curve is scored.
    """

    def __init__(
        self,
        supernet: Supernet,
        config: TrainConfig,
        settings: Coevolution,
        *,
        context: EvaluationContext,
        router: str = "msp",
    ) -> None:
        self.space = supernet.space
        sandwich = Sandwich(self.space, random_pairs=max(1, config.random_pairs), source=self._source)
        coupling = self.space.definition.couplings[0]
        watched = {"largest_": sandwich.largest[coupling], "smallest_": sandwich.smallest[coupling]}
        super().__init__(supernet, sandwich, config, watched=watched)
        self.settings, self._context, self._router = settings, context, router
        self.population: list[Point] = []
        self.evaluations, self.search_macs, self._after = 0, 0.0, 0
        self._expected_macs: float | None = None
        self.past = Trajectory(choices={n: v for n, v in self.space.choices.items() if n != "coupling"})

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase; let the population evolve where it is due."""
        super().start_epoch(epoch, epochs)
        self.past = self.past.with_step(self._step(epoch))
        self._after = epoch + 1
        if self.settings.evolves(epoch, epochs):
            self._evolve(np.random.default_rng([self.config.seed, epoch]))

    def state(self) -> dict[str, Any]:
        """Return the trajectory, the population (the points found so far) and what finding it cost."""
        return {
            "trajectory": self.past.with_step(self._step(self._after)).to_dict(),
            "found": self.population,
            "evaluations": self.evaluations,
            "search_macs": self.search_macs,
            "expected_macs": self._expected_macs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.past = remembered(state, "found", "evaluations", "search_macs", "expected_macs")
        self._after = self.past.steps[-1].epoch
        self.population = [dict(point) for point in state["found"]]
        self.evaluations, self.search_macs = state["evaluations"], state["search_macs"]
        self._expected_macs = state["expected_macs"]

    def _evolve(self, rng: np.random.Generator) -> None:
        self.population, scored = step(
            self.space, self.population, size=self.settings.population, score=self._score, rng=rng
        )
        self.evaluations += scored
        self._expected_macs = float(np.mean([self._macs(self.space.plan(p)) for p in self.population]))

    def _score(self, plan: PairPlan) -> Curve:
        images = sum(len(batch) for batch in (*self._context.recalibration, *self._context.batches))
        self.search_macs += images * self._macs(plan)
        return evaluate(self.supernet, plan, self._context).outputs.curve(self._router)

    @staticmethod
    def _macs(plan: PairPlan) -> float:
        """Return the MACs of both routes, which is what scoring an image takes."""
        return float(plan.little_macs + plan.tail_macs)

    def _source(self, coupling: Coupling, generator: torch.Generator) -> Point:
        """Return a mutant of a member of `coupling`, or a uniform draw."""
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        elite = [point for point in self.population if point["coupling"] == coupling]
        if elite and rng.random() < self.settings.elite:
            return self.space.mutate(elite[int(rng.integers(len(elite)))], rng)
        return self.space.sample(rng)

    def _step(self, epoch: int) -> TrajectoryStep:
        probabilities = frequencies(self.space, self.population, elite=self.settings.elite)
        here = Evolving(probabilities=probabilities, expected_cost=self._expected_macs)
        return TrajectoryStep(
            epoch=epoch,
            phase="joint" if self.population else "warm_up",
            evolving={NAME: here},
            evaluations=self.evaluations,
            search_macs=self.search_macs,
        )
