"""A sandwich whose dimensions become elastic one after another."""

from __future__ import annotations

from typing import Any

from nas_service.trajectory import Evolving, Trajectory, TrajectoryStep
from workers.evolving.memory import remembered
from workers.evolving.settings import Shrinking
from workers.evolving.shrinking import open_choices
from workers.learners.sandwich import SandwichLearner
from workers.sampling import Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig


class ShrinkingLearner(SandwichLearner):
    """The learner of all pairs of a space, from the largest down.

    Args:
        supernet: Trained in place.
        config: Weights of the loss terms.
        shrinking: When which choices open.
    """

    def __init__(self, supernet: Supernet, config: TrainConfig, shrinking: Shrinking) -> None:
        sandwich = Sandwich(supernet.space, random_pairs=config.random_pairs)
        coupling = supernet.space.definition.couplings[0]
        watched = {"largest_": sandwich.largest[coupling], "smallest_": sandwich.smallest[coupling]}
        super().__init__(supernet, sandwich, config, watched=watched)
        self._sandwich, self._shrinking = sandwich, shrinking
        choices = {name: values for name, values in supernet.space.choices.items() if name != "coupling"}
        self._open = open_choices(supernet.space, shrinking, progress=0.0)
        self.past = Trajectory(choices=choices).with_step(self._step(0))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase and open what is due."""
        super().start_epoch(epoch, epochs)
        self._open = open_choices(self.supernet.space, self._shrinking, progress=epoch / epochs)
        self._sandwich.limit(self._open)
        self.past = self.past.with_step(self._step(epoch + 1))

    def state(self) -> dict[str, Any]:
        """Return the trajectory and what is open."""
        return {"trajectory": self.past.to_dict(), "open": {name: list(values) for name, values in self._open.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.past = remembered(state, "open")
        self._open = {name: tuple(values) for name, values in state["open"].items()}

    def _step(self, epoch: int) -> TrajectoryStep:
        """What the sandwich's random pairs are drawn from: every open choice alike."""
        probabilities = {
            name: tuple(1 / len(self._open[name]) if value in self._open[name] else 0.0 for value in values)
            for name, values in self.supernet.space.choices.items()
            if name != "coupling"
        }
        sampled = {"sampled": Evolving(probabilities=probabilities)}
        return TrajectoryStep(epoch=epoch, phase=self.objective.phase, evolving=sampled)
