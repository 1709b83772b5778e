"""A sandwich whose dimensions become elastic one after another."""

from __future__ import annotations

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

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase and open what is due."""
        super().start_epoch(epoch, epochs)
        self._sandwich.limit(open_choices(self.supernet.space, self._shrinking, progress=epoch / epochs))
