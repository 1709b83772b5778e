"""What all baselines have in common: a setting, equal budgets, finished nets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from nas_service.layers import LayerRecord
from nas_service.pair_space import PairSpace
from nas_service.plan import NetworkPlan
from workers.baselines.multi_exit import Classifier, MultiExit, drawn, scored
from workers.bench.system import ExitCosts, FromSetting, Setting
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import BATCH, EvaluationData
from workers.protocol.budget import FORWARD_AND_BACKWARD, TERA
from workers.sampling import Sandwich
from workers.train_config import TrainConfig
from workers.wiring import Wiring, resolve

STEPS_COUNTED = 100  # whose pairs are drawn to know what a step of a supernet costs on average


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline(FromSetting):
    """A system made from a setting."""

    @property
    def wirings(self) -> Mapping[str, Wiring]:
        """The wirings of the space's blocks."""
        return resolve(self.setting.space.definition.wiring)

    def classifier(self, plan: NetworkPlan) -> Classifier:
        """Return a newly drawn net of `plan`."""
        return drawn(Classifier(plan, wirings=self.wirings), seed=self.seed)

    def for_epochs(self, epochs: int) -> TrainConfig:
        """Return the setting's configuration with another number of epochs."""
        return replace(self.setting.config, epochs=epochs)

    def exit_costs(self, macs: Iterable[float], records: Iterable[LayerRecord]) -> ExitCosts:
        """Return costs with savings counted against the fixed pair's big."""
        layers = tuple(records)
        return ExitCosts(
            macs=tuple(float(value) for value in macs),
            params=sum(layer.params for layer in layers),
            big_macs=float(self.setting.pair.big_macs),
            weights_bytes=4 * sum(layer.deployed_weights for layer in layers),
        )


def co_training_tera_macs(setting: Setting) -> float:
    """Return what co-training the fixed pair costs, in 10^12 MACs: the budget that every baseline gets."""
    pair = setting.pair
    return FORWARD_AND_BACKWARD * (pair.little_macs + pair.tail_macs) * setting.images * setting.config.epochs / TERA


def epochs_within(tera_macs: float, *, macs_per_image: float, images: int) -> int:
    """Return the most epochs that a budget pays for; at least 1, so that a quick look at few epochs trains all systems.

    Args:
        tera_macs: The budget, in 10^12 MACs.
        macs_per_image: Of everything that one training image executes, backward passes included.
        images: Training images of an epoch.
    """
    return max(1, int(tera_macs * TERA / (macs_per_image * images) * (1 + 1e-12)))


def sandwich_macs(space: PairSpace, *, random_pairs: int, seed: int) -> float:
    """Return the mean MACs of one image's forward passes through all pairs of a supernet's training step."""
    sampler, generator = Sandwich(space, random_pairs=random_pairs), torch.Generator().manual_seed(seed)
    pairs = [pair for step in range(STEPS_COUNTED) for pair in sampler(step, generator)]
    return float(sum(pair.little_macs + pair.tail_macs for pair in pairs)) / STEPS_COUNTED


def finished(net: MultiExit, dataset: Dataset, splits: Splits) -> MultiExit:
    """Return a copy as it is scored: recalibrated on images of the weights split, BatchNorm folded, in eval mode."""
    data = EvaluationData.of(dataset, splits, limit=1)
    return scored(net, batches(data.recalibration, data.mean, data.std, size=BATCH))
