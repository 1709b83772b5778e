"""Training a supernet over all its pairs, or over one of them."""

from __future__ import annotations

from collections.abc import Iterator

from nas_service.plan import PairPlan
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evolving.learning import make_learner
from workers.evolving.settings import Evolution
from workers.learners.sandwich import SandwichLearner
from workers.parallel import ALONE, Team
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport, Trainer


def train(
    supernet: Supernet,
    dataset: Dataset,
    splits: Splits,
    config: TrainConfig,
    *,
    evolution: Evolution | None = None,
    resume: bytes | None = None,
    device: str = "cpu",
    team: Team = ALONE,
) -> Iterator[EpochReport]:
    """Train `supernet` in place and yield a report after every epoch: by the sandwich rule, or as dimensions evolve.

    The sandwich's losses are `big` and `little` of the teaching pair and `all`, the sum over all pairs; its accuracies
    `largest_little`, `largest_big`, `smallest_little` and `smallest_big`. Every rank of a team calls this with the
    same arguments, and an equal supernet.

    Raises:
        InvalidRequestError: the checkpoint `resume` is damaged, or of another space, data split or configuration.
        TrainingCollapsedError: the loss went to NaN or back to guessing more than `config.rollbacks` times.
        RanksDifferError: the team's weights came apart.
    """
    learner = make_learner(supernet, config, evolution, dataset=dataset, splits=splits, device=device)
    yield from Trainer(learner, dataset, splits, config, device=device, team=team).epochs(resume)


def fine_tune(
    supernet: Supernet,
    plan: PairPlan,
    dataset: Dataset,
    splits: Splits,
    config: TrainConfig,
    *,
    resume: bytes | None = None,
    device: str = "cpu",
) -> Iterator[EpochReport]:
    """Train the one pair `plan` inside `supernet`, in place, from the weights it has; yield after every epoch.

    Weights that both halves slice stay shared. Give a copy of the supernet if other pairs are still needed.

    Args:
        supernet: Trained in place.
        plan: The pair.
        dataset: Images and labels.
        splits: Of the data set.
        config: Hyperparameters.
        resume: A checkpoint of this fine-tuning to go on from; a finished one gives its weights and nothing to do.
        device: Where to train.

    Raises:
        TrainingCollapsedError: as in `train`.
    """
    learner = SandwichLearner.over_pair(supernet, plan, config)
    yield from Trainer(learner, dataset, splits, config, device=device).epochs(resume)
