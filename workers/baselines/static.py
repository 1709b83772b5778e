"""B0, static nets: the little, the big, and widths of the big between them, each trained with the whole budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nas_service.block import MIN_CHANNELS, Block
from nas_service.errors import InvalidRequestError
from nas_service.layers import macs
from nas_service.plan import NetworkPlan
from workers.baselines.baseline import Baseline, co_training_tera_macs, epochs_within, finished
from workers.baselines.multi_exit import as_multi_exit
from workers.bench.outputs import run_exits
from workers.bench.system import ExitCosts, Finished, Modules, Phase, Setting
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.learner import Learner
from workers.learners.classifier import ClassifierLearner
from workers.protocol.budget import FORWARD_AND_BACKWARD, TrainingBudget, TrainingPhase

NET = "net"
MOST_TIMES = 3  # a net far smaller than the pair is not trained for more than this times the base epochs
BETWEEN = 4  # static-mid1 to static-mid4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StaticSystem(Baseline):
    """One net without routing, trained for as many epochs as the co-training budget pays for."""

    plan: NetworkPlan

    @property
    def epochs(self) -> int:
        """As many as the budget pays for, up to `MOST_TIMES` the base epochs."""
        paid = epochs_within(
            co_training_tera_macs(self.setting),
            macs_per_image=FORWARD_AND_BACKWARD * macs(self.plan.layers()),
            images=self.setting.images,
        )
        return min(paid, MOST_TIMES * self.setting.config.epochs)

    def phases(self) -> tuple[Phase, ...]:
        """Return the one phase."""
        return (Phase(name=NET, learner=self._learner, config=self.for_epochs(self.epochs)),)

    def costs(self) -> ExitCosts:
        """Return the net's."""
        return self.exit_costs([macs(self.plan.layers())], self.plan.layers())

    def budget(self) -> TrainingBudget:
        """Return the cost of every epoch."""
        cost = float(macs(self.plan.layers()))
        return TrainingBudget(
            phases=(TrainingPhase(name=NET, forward_macs=cost, images=self.epochs * self.setting.images),)
        )

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of the recalibrated net."""
        net = finished(as_multi_exit(modules[NET], exits=1), dataset, splits)
        return lambda split: run_exits(net, dataset, splits, split)

    def _learner(self, modules: Modules) -> Learner:
        return ClassifierLearner(self.classifier(self.plan), self.for_epochs(self.epochs))


def make_little(setting: Setting) -> StaticSystem:
    """Return the fixed pair's little, alone."""
    return StaticSystem(setting=setting, plan=setting.pair.little)


def make_big(setting: Setting) -> StaticSystem:
    """Return the fixed pair's big, alone and whole."""
    return StaticSystem(setting=setting, plan=setting.pair.big)


def _make_between(position: int) -> Callable[[Setting], StaticSystem]:
    def make(setting: Setting) -> StaticSystem:
        little, big = macs(setting.pair.little.layers()), macs(setting.pair.big.layers())
        target = little * (big / little) ** (position / (BETWEEN + 1))
        return StaticSystem(setting=setting, plan=scaled_to(setting.pair.big, target))

    return make


make_mid1, make_mid2, make_mid3, make_mid4 = (_make_between(position) for position in range(1, BETWEEN + 1))


def scaled_to(plan: NetworkPlan, target_macs: float) -> NetworkPlan:
    """Return `plan` with all widths scaled alike, to multiples of 8, to the most MACs of at most `target_macs`.

    Raises:
        InvalidRequestError: even at 8 channels everywhere it costs more.
    """
    for percent in range(100, 0, -1):
        narrower = _scaled(plan, percent / 100)
        if macs(narrower.layers()) <= target_macs:
            return narrower
    raise InvalidRequestError(
        f"at {MIN_CHANNELS} channels everywhere the net still costs {macs(narrower.layers()):,} MACs, more than "
        f"{target_macs:,.0f}; ask for at least that, or for fewer blocks"
    )


def _scaled(plan: NetworkPlan, factor: float) -> NetworkPlan:
    blocks: list[Block] = []
    width = plan.channels
    for block in plan.blocks:
        out = max(MIN_CHANNELS, MIN_CHANNELS * round(block.out_channels * factor / MIN_CHANNELS))
        blocks.append(replace(block, in_channels=width, out_channels=out))
        width = out
    return replace(plan, blocks=tuple(blocks))
