"""B1, the independent cascade: a little and a big trained apart, with the epochs that the co-training budget pays for.

Distilled (B1-KD), the big is trained first and teaches the little, so that co-training gets no credit for distillation;
the teacher's forward passes are charged.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_service.layers import macs
from nas_service.plan import NetworkPlan
from workers.baselines.baseline import Baseline, co_training_tera_macs, epochs_within, finished
from workers.baselines.combination import combination_weight, joined
from workers.baselines.multi_exit import as_multi_exit
from workers.bench.outputs import run_exits
from workers.bench.system import ExitCosts, Finished, Modules, Phase, Setting, SystemOutputs
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.learner import Learner
from workers.learners.classifier import ClassifierLearner
from workers.protocol.budget import FORWARD_AND_BACKWARD, TrainingBudget, TrainingPhase

LITTLE, BIG = "little", "big"
Halves = dict[str, NetworkPlan]  # by LITTLE and BIG


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CascadeSystem(Baseline):
    """Two nets trained apart.

    Attributes:
        distilled: Whether the big teaches the little.
    """

    distilled: bool

    def halves(self) -> Halves:
        """Return both nets' plans."""
        return {LITTLE: self.setting.pair.little, BIG: self.setting.pair.big}

    def chosen(self, modules: Modules) -> Halves:
        """Return both nets' plans, when the phases before have been trained."""
        return self.halves()

    @property
    def epochs(self) -> int:
        """Of each net."""
        pair = self.setting.pair
        little, big = (float(macs(plan.layers())) for plan in (pair.little, pair.big))
        per_image = FORWARD_AND_BACKWARD * (little + big) + (big if self.distilled else 0)
        return epochs_within(co_training_tera_macs(self.setting), macs_per_image=per_image, images=self.setting.images)

    def phases(self) -> tuple[Phase, ...]:
        """Return one phase for each net; the big comes first, since it may teach."""
        config = self.for_epochs(self.epochs)
        return (
            Phase(name=BIG, learner=self._big, config=config),
            Phase(name=LITTLE, learner=self._little, config=config),
        )

    def costs(self) -> ExitCosts:
        """Return the costs of the little, and of the little and then the whole big."""
        little, big = (self.halves()[half].layers() for half in (LITTLE, BIG))
        return self.exit_costs([macs(little), macs(little) + macs(big)], (*little, *big))

    def budget(self) -> TrainingBudget:
        """Return the cost of both nets, and of the teacher's forward passes."""
        images = self.epochs * self.setting.images
        cost = {half: float(macs(plan.layers())) for half, plan in self.halves().items()}
        phases = tuple(TrainingPhase(name=half, forward_macs=cost[half], images=images) for half in (BIG, LITTLE))
        if self.distilled:
            phases += (TrainingPhase(name="teacher", forward_macs=cost[BIG], images=images, trained=False),)
        return TrainingBudget(phases=phases)

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of the little, and of both combined with the weight that calibration gives."""
        nets = {half: finished(as_multi_exit(modules[half], exits=1), dataset, splits) for half in (LITTLE, BIG)}

        def outputs(split: str) -> tuple[SystemOutputs, SystemOutputs]:
            return run_exits(nets[LITTLE], dataset, splits, split), run_exits(nets[BIG], dataset, splits, split)

        calibration = outputs("calibration")
        alpha = combination_weight(*calibration)

        def run(split: str) -> SystemOutputs:
            little, big = calibration if split == "calibration" else outputs(split)
            return joined(little, big, alpha=alpha)

        return run

    def _big(self, modules: Modules) -> Learner:
        return ClassifierLearner(self.classifier(self.chosen(modules)[BIG]), self.for_epochs(self.epochs))

    def _little(self, modules: Modules) -> Learner:
        teacher = as_multi_exit(modules[BIG], exits=1) if self.distilled else None
        net = self.classifier(self.chosen(modules)[LITTLE])
        return ClassifierLearner(net, self.for_epochs(self.epochs), teacher=teacher)


def make(setting: Setting) -> CascadeSystem:
    """Return the plain cascade."""
    return CascadeSystem(setting=setting, distilled=False)


def make_distilled(setting: Setting) -> CascadeSystem:
    """Return the cascade whose big teaches the little."""
    return CascadeSystem(setting=setting, distilled=True)
