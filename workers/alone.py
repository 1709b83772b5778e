"""One pair trained alone, from scratch, and scored as a search scores: what its shared weights are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from nas_service.pair_space import PairSpace
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.supernet import Supernet
from workers.trainer import EpochReport
from workers.training import fine_tune
from workers.training_run import TrainingRun, load_split


def train_alone(
    run: TrainingRun,
    architecture: Mapping[str, Any],
    *,
    router: str,
    resume: bytes | None = None,
    loaded: tuple[Dataset, Splits] | None = None,
    device: str = "cpu",
) -> Iterator[EpochReport | dict[str, float]]:
    """Train a pair that shares weights with no other; yield after every epoch, and at last its accuracies.

    Those are `little` and `big`, in percent of the `n` validation images. It is trained by the run's own configuration,
    from weights drawn as a supernet's are.

    Args:
        run: Space, data and hyperparameters.
        architecture: A point of the space.
        router: Whose curve's ends are the accuracies.
        resume: A checkpoint of this training to go on from; after a finished one, there are only the accuracies.
        loaded: The data set and its splits; loaded if None.
        device: Where to train.

    Raises:
        InvalidRequestError: the checkpoint `resume` is damaged, or of another space, data split or configuration.
        TrainingCollapsedError: as in `workers.training.train`.
    """
    torch.set_num_threads(1)
    dataset, splits = loaded or load_split(run.dataset, seed=run.seed, train_fraction=run.train_fraction)
    space = PairSpace(
        run.definition, channels=dataset.channels, resolution=dataset.resolution, classes=len(dataset.classes)
    )
    plan = space.plan(architecture)
    supernet = Supernet(space, seed=run.config.seed)
    yield from fine_tune(supernet, plan, dataset, splits, run.config, resume=resume, device=device)
    context = EvaluationContext(EvaluationData.of(dataset, splits), device=device)
    curve = evaluate(supernet.to(device), plan, context).outputs.curve(router)
    yield {"little": 100 * float(curve.accuracy[0]), "big": 100 * float(curve.accuracy[-1]), "n": float(curve.n)}
