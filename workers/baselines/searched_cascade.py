"""B1-NAS: the distilled cascade whose halves were searched separately, each for its own accuracy.

What it lacks against a co-trained and jointly searched pair is the joint search. A supernet of both halves without
coupling is trained, each half is searched in it by the searcher that pairs are searched by, at no more MACs and
parameters than the fixed pair's half, and both are trained anew. The supernet is trained for as many epochs as the
co-training budget pays for, at most the base number; the search is counted apart from training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs
from nas_service.pair_space import PairSpace
from nas_service.plan import NetworkPlan
from workers.baselines.baseline import co_training_tera_macs, epochs_within, sandwich_macs
from workers.baselines.cascade import BIG, LITTLE, CascadeSystem, Halves
from workers.baselines.half_search import (
    Half,
    HalfSpace,
    MakeSearcher,
    half_error,
    independent_space,
    narrowed,
    search_half,
)
from workers.bench.system import Modules, Phase
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import RECALIBRATION_IMAGES, EvaluationContext, EvaluationData
from workers.learner import Learner
from workers.learners.sandwich import SandwichLearner
from workers.protocol.budget import FORWARD_AND_BACKWARD, TrainingBudget, TrainingPhase
from workers.supernet import Supernet
from workers.train_config import TrainConfig

SUPERNET = "supernet"
EVALUATIONS = 40  # of each half


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchedCascade(CascadeSystem):
    """The cascade whose halves are known once the supernet is trained; until then, the most that they may cost.

    Attributes:
        make_searcher: `nas_service.search.make_searcher`.
        evaluations: Networks scored for each half.
        found: The halves, once found.
    """

    make_searcher: MakeSearcher
    evaluations: int = EVALUATIONS
    found: Halves = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._data()

    def halves(self) -> Halves:
        """Return the halves that were found, or before that the fixed pair's, which none exceeds."""
        return self.found or CascadeSystem.halves(self)

    def chosen(self, modules: Modules) -> Halves:
        """Return the halves that the search in the trained supernet finds, the same every time."""
        if not self.found:
            supernet = cast(Supernet, modules[SUPERNET])
            dataset, splits = self._data()
            context = EvaluationContext(EvaluationData.of(dataset, splits))
            self.found.update({half: self._search(supernet, half, context) for half in (LITTLE, BIG)})
        return self.found

    def findings(self) -> dict[str, Any]:
        """Return both halves that were found, layer by layer."""
        return {half: [asdict(record) for record in plan.layers()] for half, plan in self.found.items()}

    def phases(self) -> tuple[Phase, ...]:
        """Return the supernet's phase and those of the nets."""
        first = Phase(name=SUPERNET, learner=self._supernet, config=self._search_config())
        return (first, *CascadeSystem.phases(self))

    def budget(self) -> TrainingBudget:
        """Return the cost of both nets and the teacher, and apart from it the supernet's and the scoring's."""
        _, splits = self._data()
        scored = min(RECALIBRATION_IMAGES, len(splits.weights)) + len(splits.validation)
        costs = [macs(plan.layers()) for plan in CascadeSystem.halves(self).values()]
        config = self._search_config()
        search = (
            TrainingPhase(name=SUPERNET, forward_macs=self._step_macs(), images=config.epochs * self.setting.images),
            TrainingPhase(
                name="scoring", forward_macs=float(sum(costs)), images=self.evaluations * scored, trained=False
            ),
        )
        return TrainingBudget(phases=CascadeSystem.budget(self).phases, search_phases=search)

    def _search(self, supernet: Supernet, half: str, context: EvaluationContext) -> NetworkPlan:
        which = cast(Half, half)
        space = HalfSpace(independent_space(self.setting.space), which, limit=CascadeSystem.halves(self)[half])
        return search_half(
            space,
            lambda plan: half_error(supernet, plan, which, context),
            evaluations=self.evaluations,
            seed=self.seed,
            make_searcher=self.make_searcher,
        )

    def _supernet(self, modules: Modules) -> Learner:
        supernet = Supernet(self._space(), seed=self.seed)
        return SandwichLearner.over_space(supernet, self._search_config())

    def _search_config(self) -> TrainConfig:
        per_image = FORWARD_AND_BACKWARD * self._step_macs()
        paid = epochs_within(co_training_tera_macs(self.setting), macs_per_image=per_image, images=self.setting.images)
        return self.for_epochs(min(paid, self.setting.config.epochs))

    def _space(self) -> PairSpace:
        pair = self.setting.pair
        return narrowed(independent_space(self.setting.space), {"little": pair.little, "big": pair.big})

    def _step_macs(self) -> float:
        return sandwich_macs(self._space(), random_pairs=self.setting.config.random_pairs, seed=self.seed)

    def _data(self) -> tuple[Dataset, Splits]:
        if self.setting.data is None:
            raise InvalidRequestError(
                f"system {self.name!r} searches on validation images, but its setting has no data; give Setting.data"
            )
        return self.setting.data
