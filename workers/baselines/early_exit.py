"""B2, early exits: BranchyNet-style heads on the big, boosted exits, and a small MSDNet of the big's MACs.

All in the mixed regime (Kubaty et al., arXiv 2407.14320): the whole net without its early heads first, then everything,
each with half of the co-training budget.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass

from nas_service.layers import macs
from workers.baselines.baseline import Baseline, co_training_tera_macs, epochs_within, finished
from workers.baselines.exit_network import ExitNetwork
from workers.baselines.exit_plan import ExitPlan, place_exits
from workers.baselines.msdnet import MsdNet
from workers.baselines.msdnet_plan import MsdPlan, match_macs
from workers.baselines.multi_exit import MultiExit, as_multi_exit, drawn
from workers.bench.outputs import run_exits
from workers.bench.system import ExitCosts, Finished, Modules, Phase, Setting
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.learner import Learner
from workers.learners.exits import ExitsLearner
from workers.protocol.budget import FORWARD_AND_BACKWARD, TERA, TrainingBudget, TrainingPhase

BACKBONE, EXITS = "backbone", "exits"
BACKBONE_SHARE = 0.5  # of the budget
MSD_EXITS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EarlyExitSystem(Baseline):
    """A net with exits, trained in two phases.

    Attributes:
        boosted: Whether every exit learns what the sum of those before lacks.
    """

    boosted: bool = False

    @abstractmethod
    def net(self) -> MultiExit:
        """Return the untrained net."""

    @abstractmethod
    def backbone_macs(self) -> int:
        """Return the MACs of the whole net without its early heads."""

    @property
    def exits(self) -> int:
        """Number of exits."""
        return len(self.costs().macs)

    @abstractmethod
    def costs(self) -> ExitCosts:
        """Return the costs of every exit, the heads that were passed included."""

    def epochs(self) -> tuple[int, int]:
        """Return the epochs of both phases: half of the budget for the backbone, what is left for everything."""
        whole, images = co_training_tera_macs(self.setting), self.setting.images
        dearest = [FORWARD_AND_BACKWARD * value for value in (self.backbone_macs(), self.costs().macs[-1])]
        first = epochs_within(BACKBONE_SHARE * whole, macs_per_image=dearest[0], images=images)
        left = whole - first * dearest[0] * images / TERA
        return first, epochs_within(left, macs_per_image=dearest[1], images=images)

    def phases(self) -> tuple[Phase, ...]:
        """Return both."""
        first, second = self.epochs()
        return (
            Phase(name=BACKBONE, learner=self._backbone, config=self.for_epochs(first)),
            Phase(name=EXITS, learner=self._everything, config=self.for_epochs(second)),
        )

    def budget(self) -> TrainingBudget:
        """Return the cost of both phases."""
        first, second = (epochs * self.setting.images for epochs in self.epochs())
        return TrainingBudget(
            phases=(
                TrainingPhase(name=BACKBONE, forward_macs=float(self.backbone_macs()), images=first),
                TrainingPhase(name=EXITS, forward_macs=self.costs().macs[-1], images=second),
            )
        )

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of all exits of the recalibrated net."""
        net = finished(as_multi_exit(modules[EXITS], exits=self.exits), dataset, splits)
        return lambda split: run_exits(net, dataset, splits, split)

    def _backbone(self, modules: Modules) -> Learner:
        last_alone = (*[0.0] * (self.exits - 1), 1.0)
        return ExitsLearner(drawn(self.net(), seed=self.seed), self.for_epochs(self.epochs()[0]), weights=last_alone)

    def _everything(self, modules: Modules) -> Learner:
        net = copy.deepcopy(as_multi_exit(modules[BACKBONE], exits=self.exits))
        return ExitsLearner(net, self.for_epochs(self.epochs()[1]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BranchySystem(EarlyExitSystem):
    """The big with early heads of its own."""

    plan: ExitPlan

    def net(self) -> MultiExit:
        """Return the untrained net."""
        return ExitNetwork(self.plan, boosted=self.boosted, wirings=self.wirings)

    def backbone_macs(self) -> int:
        """Return the big's."""
        return macs(self.plan.backbone.layers())

    def costs(self) -> ExitCosts:
        """Return the costs of every exit."""
        return self.exit_costs(self.plan.exit_macs(), self.plan.records())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MsdSystem(EarlyExitSystem):
    """A small MSDNet."""

    plan: MsdPlan

    def net(self) -> MultiExit:
        """Return the untrained net."""
        return MsdNet(self.plan, boosted=self.boosted)

    def backbone_macs(self) -> int:
        """Return the MACs of all but the early heads."""
        return self.plan.exit_macs()[-1] - sum(macs(self.plan.head(index)) for index in range(self.plan.exits - 1))

    def costs(self) -> ExitCosts:
        """Return the costs of every exit."""
        return self.exit_costs(self.plan.exit_macs(), self.plan.records())


def make_branchy(setting: Setting) -> BranchySystem:
    """Return the big with one head at the little's MACs."""
    return BranchySystem(setting=setting, plan=place_exits(setting.pair.big, [setting.pair.little_macs]))


def make_branchy_two(setting: Setting) -> BranchySystem:
    """Return the big with heads at the little's MACs and half-way to the big's."""
    pair = setting.pair
    targets = [pair.little_macs, (pair.little_macs + macs(pair.big.layers())) / 2]
    return BranchySystem(setting=setting, plan=place_exits(pair.big, targets))


def make_boosted(setting: Setting) -> BranchySystem:
    """Return `make_branchy`'s net, boosted."""
    return BranchySystem(setting=setting, plan=make_branchy(setting).plan, boosted=True)


def make_msdnet(setting: Setting) -> MsdSystem:
    """Return an MSDNet whose last exit costs what the big does."""
    return MsdSystem(setting=setting, plan=_msd_plan(setting))


def make_boosted_msdnet(setting: Setting) -> MsdSystem:
    """Return `make_msdnet`'s net, boosted."""
    return MsdSystem(setting=setting, plan=_msd_plan(setting), boosted=True)


def _msd_plan(setting: Setting) -> MsdPlan:
    big = setting.pair.big
    plan = MsdPlan(
        channels=big.channels,
        resolution=big.resolution,
        classes=big.classes,
        stem_stride=setting.space.definition.stem_stride,
        exits=MSD_EXITS,
    )
    return match_macs(plan, macs(big.layers()))
