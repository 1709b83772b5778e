"""`subnets`: the supernet's own subnets as static nets, which routing has to beat with shared weights.

EVALUATION protocol, section 3 (B0): without it, a gain over other families of nets could come from the architecture.
A supernet of the fixed pair's coupling, of choices no dearer than its halves', is trained once, for as many epochs as
the co-training budget pays for. Halves of pairs spread over its MACs are then run one by one, and none is asked for
what another is not sure of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs
from nas_service.pair_space import PairSpace
from nas_service.plan import NetworkPlan, PairPlan
from workers.baselines.baseline import Baseline, co_training_tera_macs, epochs_within, sandwich_macs
from workers.baselines.half_search import independent_space, narrowed
from workers.bench.outputs import recalibrated, run_exits
from workers.bench.system import ExitCosts, Finished, Modules, Phase, Setting, SystemOutputs
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import fold
from workers.learner import Learner
from workers.learners.sandwich import SandwichLearner
from workers.network import Pair
from workers.protocol.budget import FORWARD_AND_BACKWARD, TrainingBudget, TrainingPhase
from workers.sampling import Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig

SUPERNET = "supernet"
PAIRS = 8  # whose halves are run
DRAWS = 16  # pairs drawn for every one that is kept
LITTLE, BIG = 0, 1  # a pair's exits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subnets(Baseline):
    """Halves of one supernet, each a static net of its own."""

    def phases(self) -> tuple[Phase, ...]:
        """Return the supernet's phase."""
        return (Phase(name=SUPERNET, learner=self._learner, config=self._config()),)

    def costs(self) -> ExitCosts:
        """Return every net's own MACs; parameters are those of the largest, since one is deployed."""
        nets = [plan for _, _, plan in self._nets()]
        alone = self.exit_costs([macs(plan.layers()) for plan in nets], nets[-1].layers())
        return replace(alone, alternatives=True)

    def budget(self) -> TrainingBudget:
        """Return the cost of all pairs of every step."""
        images = self._config().epochs * self.setting.images
        return TrainingBudget(phases=(TrainingPhase(name=SUPERNET, forward_macs=self._step_macs(), images=images),))

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of every net, its pair extracted and recalibrated; a big runs without the little."""
        supernet = cast(Supernet, modules[SUPERNET])
        nets = [(exit_, _apart(supernet, pair, dataset, splits)) for pair, exit_, _ in self._nets()]

        def run(split: str) -> SystemOutputs:
            outputs = [(exit_, run_exits(pair, dataset, splits, split)) for exit_, pair in nets]
            return SystemOutputs(
                logits=np.stack([found.logits[exit_] for exit_, found in outputs]), labels=outputs[0][1].labels
            )

        return run

    def _nets(self) -> list[tuple[PairPlan, int, NetworkPlan]]:
        """Every net by rising MACs, none twice as dear, with the pair and the exit that it is of."""
        halves = {macs(plan.layers()): (pair, exit_, plan) for pair, exit_, plan in self._halves()}
        return [halves[cost] for cost in sorted(halves)]

    def space(self) -> PairSpace:
        """Return the space of the supernet; the whole preset's would leave the budget few epochs of large nets."""
        whole, pair = self.setting.space, self.setting.pair
        narrow = narrowed(independent_space(whole), {"little": pair.little, "big": pair.big})
        return PairSpace(
            replace(narrow.definition, couplings=(pair.coupling,)),
            channels=whole.channels,
            resolution=whole.resolution,
            classes=whole.classes,
        )

    def _halves(self) -> Iterator[tuple[PairPlan, int, NetworkPlan]]:
        for pair in stratified_pairs(self.space(), PAIRS, seed=self.seed):
            yield pair, LITTLE, pair.little
            yield pair, BIG, pair.big

    def _config(self) -> TrainConfig:
        per_image = FORWARD_AND_BACKWARD * self._step_macs()
        paid = epochs_within(co_training_tera_macs(self.setting), macs_per_image=per_image, images=self.setting.images)
        return self.for_epochs(min(paid, self.setting.config.epochs))

    def _step_macs(self) -> float:
        return sandwich_macs(self.space(), random_pairs=self.setting.config.random_pairs, seed=self.seed)

    def _learner(self, modules: Modules) -> Learner:
        return SandwichLearner.over_space(Supernet(self.space(), seed=self.seed), self._config())


def make(setting: Setting) -> Subnets:
    """Return the system of a setting."""
    return Subnets(setting=setting)


def stratified_pairs(space: PairSpace, count: int, *, seed: int) -> list[PairPlan]:
    """Return `count` pairs of `space`, spread over the MACs of both halves.

    Half of them are evenly spaced in the order of the big's MACs of many random pairs, half in that of the little's,
    the ends included.

    Raises:
        InvalidRequestError: fewer than 4 pairs are asked for.
    """
    if count < 4:
        raise InvalidRequestError(f"{count} pairs cannot be spread over both halves; ask for at least 4")
    sampler, generator = Sandwich(space, random_pairs=DRAWS * count), torch.Generator().manual_seed(seed)
    drawn = [*sampler.largest.values(), *sampler.smallest.values(), *sampler(0, generator)]
    orders: tuple[Callable[[PairPlan], int], ...] = (lambda plan: plan.big_macs, lambda plan: plan.little_macs)
    chosen: list[PairPlan] = []
    for part, order in zip((count - count // 2, count // 2), orders, strict=True):
        ranked = sorted(drawn, key=order)
        chosen += [ranked[index * (len(ranked) - 1) // (part - 1)] for index in range(part)]
    return chosen


def _apart(supernet: Supernet, plan: PairPlan, dataset: Dataset, splits: Splits) -> Pair:
    pair = supernet.extract(plan)
    pair.alpha = 0.0
    return fold(recalibrated(pair, dataset, splits))
