"""`ours`: the preset's pair, both halves and a router co-trained in one run.

The little is taught by the escalated answer, and the routed system's likelihood teaches both halves what they will
answer for (LEARNING.md, section 4.2: L_sys).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from nas_service.errors import InvalidRequestError
from workers.bench.outputs import recalibrated, run_exits
from workers.bench.system import ExitCosts, Finished, FromSetting, Modules, Phase, Setting
from workers.cotraining.terms import CoTraining
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.learner import Learner
from workers.learners.sandwich import SandwichLearner
from workers.protocol.budget import FORWARD_AND_BACKWARD, TrainingBudget, TrainingPhase
from workers.supernet import Supernet
from workers.train_config import TrainConfig

PAIR = "pair"
TERMS = CoTraining(system=0.5, router=1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedPair(FromSetting):
    """One pair inside its supernet, so that what both halves slice stays shared."""

    def phases(self) -> tuple[Phase, ...]:
        """Return the one phase."""
        return (Phase(name=PAIR, learner=self._learner, config=self.config),)

    @property
    def config(self) -> TrainConfig:
        """Hyperparameters; where a moving average teaches, fewer epochs pay for its forward passes."""
        config = self.setting.config
        if not self._averages:
            return config
        return replace(config, epochs=max(1, config.epochs * FORWARD_AND_BACKWARD // (FORWARD_AND_BACKWARD + 1)))

    @property
    def _averages(self) -> bool:
        return self.setting.config.cotraining.teacher == "average"

    def costs(self) -> ExitCosts:
        """Return the costs of the little, and of the little and the tail."""
        pair = self.setting.pair
        return ExitCosts(
            macs=(float(pair.little_macs), float(pair.little_macs + pair.tail_macs)),
            params=pair.params(),
            big_macs=float(pair.big_macs),
            weights_bytes=4 * pair.deployed_weights(),
        )

    def budget(self) -> TrainingBudget:
        """Return the cost of both halves on every image, and of the average's forward passes where it teaches."""
        pair, images = self.setting.pair, self.config.epochs * self.setting.images
        macs = float(pair.little_macs + pair.tail_macs)
        phases = [TrainingPhase(name=PAIR, forward_macs=macs, images=images)]
        if self._averages:
            phases.append(TrainingPhase(name="teacher", forward_macs=macs, images=images, trained=False))
        return TrainingBudget(phases=tuple(phases))

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of the extracted, recalibrated pair."""
        pair = recalibrated(_supernet(modules[PAIR]).extract(self.setting.pair), dataset, splits)
        return lambda split: run_exits(pair, dataset, splits, split)

    def _learner(self, modules: Modules) -> Learner:
        supernet = Supernet(self.setting.space, seed=self.seed)
        return SandwichLearner.over_pair(supernet, self.setting.pair, self.config)


def make(setting: Setting) -> FixedPair:
    """Return the system of a setting."""
    return FixedPair(setting=co_trained(setting))


def co_trained(setting: Setting) -> Setting:
    """Return the setting with the terms that make a pair `ours`."""
    return replace(setting, config=replace(setting.config, cotraining=TERMS))


def _supernet(module: nn.Module) -> Supernet:
    if not isinstance(module, Supernet):
        raise InvalidRequestError(f"phase {PAIR!r} gave a {type(module).__name__}, not a supernet; train the cell anew")
    return module
