"""`evolved`: a pair whose widths, depths, kernels and kinds are trained with its weights, then hardened and fine-tuned.

All in one run of as many epochs as `ours` has, the search included. It costs more MACs than `ours`, since a step of the
search trains two pairs; the budget counts what was really run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from workers.bench.fixed_pair import PAIR, FixedPair, co_trained
from workers.bench.outputs import recalibrated, run_exits
from workers.bench.system import ExitCosts, Finished, Modules, Setting
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evolving.settings import GradientSearch
from workers.learner import Learner
from workers.learners.gradient import GradientLearner
from workers.protocol.budget import TrainingBudget, TrainingPhase
from workers.supernet import Supernet

WARM_UP, FINE_TUNE = 0.1, 0.55
TARGET = 0.6  # of what the fixed pair costs when everything is escalated


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvolvedPair(FixedPair):
    """A pair of the fixed pair's coupling that is known once it is trained; until then, the fixed one stands for it.

    Attributes:
        learners: The learner of the phase, once it was asked for; it knows what the masks hardened to.
    """

    learners: list[GradientLearner] = field(default_factory=list, repr=False)

    def costs(self) -> ExitCosts:
        """Return the costs of the pair that was found."""
        found = replace(self.setting, pair=self._pair())
        return replace(FixedPair(setting=found).costs(), big_macs=float(self.setting.pair.big_macs))

    def budget(self) -> TrainingBudget:
        """Return what was run; before that, two of the fixed pairs a step until the pair is fixed."""
        images = self.setting.config.epochs * self.setting.images
        spent = self.learners[-1].spent_macs if self.learners else 0.0
        pair = self.setting.pair
        planned = (2 - FINE_TUNE) * (pair.little_macs + pair.tail_macs)
        macs = spent / images if spent else float(planned)
        return TrainingBudget(phases=(TrainingPhase(name=PAIR, forward_macs=macs, images=images),))

    def findings(self) -> dict[str, Any]:
        """Return the genes of the pair that was found, and how every dimension moved on the way."""
        if not self.learners:
            return {}
        learner = self.learners[-1]
        return {"genes": learner.searches[0].found, "trajectory": learner.state()["trajectory"]}

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return the outputs of the hardened pair, extracted and recalibrated."""
        supernet = modules[PAIR]
        if not isinstance(supernet, Supernet):
            raise InvalidRequestError(f"phase {PAIR!r} gave a {type(supernet).__name__}; train the cell anew")
        pair = recalibrated(supernet.extract(self._pair()), dataset, splits)
        return lambda split: run_exits(pair, dataset, splits, split)

    def _pair(self) -> PairPlan:
        found = self.learners and self.learners[-1].searches[0]
        return found.plan() if found and found.choice is not None else self.setting.pair

    def _learner(self, modules: Modules) -> Learner:
        pair, space = self.setting.pair, self.setting.space
        narrow = PairSpace(
            replace(space.definition, couplings=(pair.coupling,)),
            channels=space.channels,
            resolution=space.resolution,
            classes=space.classes,
            constraints=space.constraints,
        )
        target = TARGET * (pair.little_macs + pair.tail_macs)
        settings = GradientSearch(targets=(target,), searches=1, warm_up=WARM_UP, fine_tune=FINE_TUNE)
        self.learners.append(GradientLearner(Supernet(narrow, seed=self.seed), self.setting.config, settings))
        return self.learners[-1]


def make(setting: Setting) -> EvolvedPair:
    """Return the system of a setting."""
    return EvolvedPair(setting=co_trained(setting))
