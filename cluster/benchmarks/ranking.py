"""L7: whether a supernet ranks pairs as training each by itself would (Kendall's tau)."""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import track
from scipy.stats import kendalltau

from cluster.benchmarks.row import Row
from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.presets import MICRO
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import fine_tune, train

PAIRS = 16
EPOCHS = 15
TRAIN_FRACTION = 0.2
SEED = 0
MEASURES = ("mean over the curve", "little", "escalated")


def shared_weights() -> list[Row]:
    """L7: shared-weight against stand-alone accuracy of pairs of `micro`, drawn uniformly, at equal epochs."""
    torch.set_num_threads(1)
    dataset = fashion_mnist()
    splits = Splits.of(dataset, seed=SEED, train_fraction=TRAIN_FRACTION)
    space = PairSpace(
        MICRO, channels=dataset.channels, resolution=dataset.resolution, classes=len(dataset.classes), constraints={}
    )
    rng = np.random.default_rng(SEED)
    plans = [space.plan(space.sample(rng)) for _ in range(PAIRS)]
    context = EvaluationContext(EvaluationData.of(dataset, splits))
    config = TrainConfig(epochs=EPOCHS, seed=SEED)
    shared = Supernet(space, seed=SEED)
    for _ in track(train(shared, dataset, splits, config), total=EPOCHS, description="supernet"):
        pass
    together = np.array([_accuracies(shared, plan, context) for plan in plans])
    alone = []
    for plan in track(plans, description="pairs alone"):
        own = Supernet(space, seed=SEED)
        for _ in fine_tune(own, plan, dataset, splits, config):
            pass
        alone.append(_accuracies(own, plan, context))
    taus = [float(kendalltau(together[:, i], np.array(alone)[:, i]).statistic) for i in range(len(MEASURES))]
    others = ", ".join(f"{name} {tau:.2f}" for name, tau in zip(MEASURES, taus, strict=True))
    detail = (
        f"{dataset.name}, {len(splits.weights)} training and {len(context.labels)} validation images, {EPOCHS} epochs, "
        f"{PAIRS} pairs, seed {SEED}; tau of {others}"
    )
    figure = "Kendall's tau, shared weights against stand-alone, micro"
    return [Row(name="L7", figure=figure, value=taus[0], must=0.6, aim=0.75, least=True, detail=detail)]


def fashion_mnist() -> Dataset:
    """Return Fashion-MNIST, whose validation split tells pairs apart; digits' 180 images do not."""
    try:
        return load(DatasetSpec(name="fashion_mnist", root="/usr/share/datasets/fashion-mnist"))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{error}; or install Debian's package dataset-fashion-mnist") from None


def _accuracies(supernet: Supernet, plan: PairPlan, context: EvaluationContext) -> tuple[float, float, float]:
    curve = evaluate(supernet, plan, context).outputs.curve("margin")
    return float(curve.accuracy.mean()), float(curve.accuracy[0]), float(curve.accuracy[-1])
