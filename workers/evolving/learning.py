"""Which learner trains a supernet, by how its dimensions evolve."""

from __future__ import annotations

from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData
from workers.evolving.settings import Coevolution, Evolution, GradientSearch
from workers.learner import Learner
from workers.learners.coevolve import CoevolveLearner
from workers.learners.gradient import GradientLearner
from workers.learners.sandwich import SandwichLearner
from workers.learners.shrinking import ShrinkingLearner
from workers.supernet import Supernet
from workers.train_config import TrainConfig


def make_learner(
    supernet: Supernet,
    config: TrainConfig,
    evolution: Evolution | None,
    *,
    dataset: Dataset,
    splits: Splits,
    device: str = "cpu",
) -> Learner:
    """Return the learner of all pairs of the supernet's space.

    Args:
        supernet: Trained in place.
        config: Of the run.
        evolution: How dimensions evolve; None for the plain sandwich.
        dataset: Images and labels.
        splits: Of the data set; a population is scored on the validation split.
        device: Where a population is scored.
    """
    if evolution is None:
        return SandwichLearner.over_space(supernet, config)
    if isinstance(evolution, GradientSearch):
        return GradientLearner(supernet, config, evolution)
    if isinstance(evolution, Coevolution):
        data = EvaluationData.of(dataset, splits, recalibration=evolution.recalibration, limit=evolution.images)
        return CoevolveLearner(supernet, config, evolution, context=EvaluationContext(data, device=device))
    return ShrinkingLearner(supernet, config, evolution)
