"""A supernet whose pairs' dimensions are trained with its weights, under a differentiable expected cost.

A step of the search draws two pairs from the masks of one search and trains both on the same batch. The masks learn
from which of them makes the better routed system (the score function with the other draw as baseline; Kool et al., Buy
4 REINFORCE Samples, Get a Baseline for Free!, 2019) and from the exact gradient of the expected cost, which dual ascent
holds at its target. Two pairs cost two steps' work; no net of the largest widths is run. Before the search all pairs
are trained alike; after it the masks are hardened and only the pairs that were found are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas_service.plan import PairPlan
from nas_service.trajectory import Trajectory, TrajectoryStep
from workers.checkpoint import space_identity
from workers.cotraining.likelihood import system_loss
from workers.cotraining.objective import PairObjective, truth_of
from workers.cotraining.terms import Phase
from workers.evaluation import EvaluationContext, evaluate
from workers.evolving.memory import remembered
from workers.evolving.search import MaskSearch
from workers.evolving.settings import GradientSearch
from workers.learner import Backward, Batch, PlainLearner, decayed_groups
from workers.sampling import PairSampler, Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig

WATCHED = 3


class GradientLearner(PlainLearner):
    """Searches that share a supernet, and take turns.

    Args:
        supernet: Trained in place.
        config: Weights of the loss terms.
        settings: The searches: one for each coupling and cost target.

    Attributes:
        spent_macs: Forward MACs of everything that was run so far, times images.
    """

    def __init__(self, supernet: Supernet, config: TrainConfig, settings: GradientSearch) -> None:
        space = supernet.space
        super().__init__(supernet, classes=space.classes, identity=space_identity(supernet))
        self.supernet, self.config, self.settings = supernet, config, settings
        self.objective = PairObjective(config, model=supernet, classes=self.classes)
        self.searches = searches_of(supernet, settings)
        self.extras = nn.ModuleDict({"objective": self.objective.extras, "searches": nn.ModuleList(self.searches)})
        self.sampler: PairSampler = Sandwich(space, random_pairs=1, smallest_pairs=False)
        self.phase: Phase = settings.phase(0, config.epochs)
        self._after = 0
        self.past = Trajectory(choices={n: v for n, v in space.choices.items() if n != "coupling"})
        self._moved: tuple[MaskSearch, float, int] | None = None
        self.spent_macs = 0.0

    def groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return the supernet's groups and, undecayed, the routers' and terms'; masks move by a rule of their own."""
        masks = {id(p) for search in self.searches for p in search.masks.parameters()}
        beside = [p for p in self.extras.parameters() if p.requires_grad and id(p) not in masks]
        return [
            *decayed_groups(self.supernet, weight_decay=weight_decay),
            {"params": beside, "weight_decay": 0.0},
        ]

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase; harden the masks where the search is over."""
        self.past = self.past.with_step(self._step(epoch))
        self._after, self.phase = epoch + 1, self.settings.phase(epoch, epochs)
        self.objective.start_epoch(epoch, epochs)
        self.objective.phase = "fine_tune" if self.phase == "fine_tune" else "joint"
        for search in self.searches:
            if self.phase == "fine_tune" and search.choice is None:
                search.harden()

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` and `big` are the first pair's escalated branch."""
        if self.phase == "warm_up":
            return self._train(self.sampler(batch.step, batch.generator), batch, backward)
        search = self.searches[batch.step % len(self.searches)]
        if self.phase == "fine_tune":
            return self._train([search.plan()], batch, backward)
        return self._search(search, batch, backward)

    def finish_step(self) -> None:
        """Move the masks and the multiplier of the search whose turn it was, and what the terms keep."""
        self.objective.finish_step(self.supernet)
        if self._moved is not None:
            search, progress, steps = self._moved
            search.finish_step(progress=progress, steps=steps)
            self._moved = None

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracies of both halves of the likeliest pair of up to three searches."""
        accuracies: dict[str, float] = {}
        for search in self.searches[:WATCHED]:
            evaluation = evaluate(self.supernet, search.plan(), quick)
            accuracies[f"{search.name}_little"] = evaluation.little_accuracy
            accuracies[f"{search.name}_big"] = evaluation.big_accuracy
        return accuracies

    def state(self) -> dict[str, Any]:
        """Return the trajectory, the hardened choices and the points found so far."""
        return {
            "trajectory": self.past.with_step(self._step(self._after)).to_dict(),
            "choices": [search.choice for search in self.searches],
            "explorations": [search.masks.exploration for search in self.searches],
            "found": [search.found for search in self.searches],
            "spent_macs": self.spent_macs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.past = remembered(state, "choices", "explorations")
        self.spent_macs = float(state["spent_macs"])
        self._after, self.phase = self.past.steps[-1].epoch, cast(Phase, self.past.steps[-1].phase)
        for search, choice, share in zip(self.searches, state["choices"], state["explorations"], strict=True):
            search.choice, search.masks.exploration = choice, share

    def _step(self, epoch: int) -> TrajectoryStep:
        return TrajectoryStep(epoch=epoch, phase=self.phase, evolving={s.name: s.snapshot() for s in self.searches})

    def _train(self, plans: Sequence[PairPlan], batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Train `plans`, the first of which teaches the others."""
        averaged = self.objective.averaged(batch.images, plans[0])
        teacher: Tensor | None = None
        figures: dict[str, Tensor] = {}
        for plan in plans:
            little, escalated, lesson = self._run(plan, batch, averaged)
            terms = self.objective(little, escalated, batch, lesson=lesson, teacher=teacher, cost=None)
            backward(terms.total)
            teacher = lesson
            big = terms.big.detach()
            figures = figures or {"loss": big, "big": big, "little": terms.little.detach()}
        return figures

    def _search(self, search: MaskSearch, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Train two pairs drawn from the masks of `search`, and the masks by their difference."""
        averaged = self.objective.averaged(batch.images, search.plan())
        genes = self._genes(search, batch.generator)
        draws, systems, bigs, littles = [], [], [], []
        for _ in range(2):
            choice = search.masks.draw(batch.generator)
            little, escalated, lesson = self._run(search.plan(choice), batch, averaged)
            terms = self.objective(little, escalated, batch, lesson=lesson, teacher=None, cost=None)
            log_odds = search.router(little)
            system = system_loss(little.detach(), escalated.detach(), log_odds, truth_of(batch))
            penalty = search.penalty(choice, log_odds.sigmoid(), genes=genes)
            backward(terms.total + system + penalty.to(system) / 2)
            draws.append(choice)
            systems.append(system.detach())
            bigs.append(terms.big.detach())
            littles.append(terms.little.detach())
        backward(score_function(search, draws, systems))
        steps = round(batch.steps * self._share() / len(self.searches))
        begun = batch.steps * self._begins()
        progress = min(1.0, max(0.0, (batch.step - begun) / max(1.0, batch.steps * self._share())))
        self._moved = (search, progress, max(1, steps))
        return {"loss": bigs[0], "big": bigs[0], "little": littles[0], "system": torch.stack(systems).mean()}

    def _run(self, plan: PairPlan, batch: Batch, averaged: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        little, escalated = self.supernet(batch.images, plan)
        self.spent_macs += (plan.little_macs + plan.tail_macs) * len(batch.images)
        little, escalated = little.float(), escalated.float()
        return little, escalated, self.objective.lesson(little, escalated, averaged=averaged)

    def _genes(self, search: MaskSearch, generator: torch.Generator) -> list[str] | None:
        """Draw the genes whose effect on the cost this step computes."""
        names, count = list(search.masks.choices), self.settings.cost_genes
        if count is None or count >= len(names):
            return None
        return [names[int(i)] for i in torch.randperm(len(names), generator=generator)[:count]]

    def _phases(self) -> list[Phase]:
        return [self.settings.phase(epoch, self.config.epochs) for epoch in range(self.config.epochs)]

    def _begins(self) -> float:
        """Return the share of the epochs before the search."""
        return self._phases().index("joint") / self.config.epochs

    def _share(self) -> float:
        """Return the share of the epochs that the search takes."""
        return self._phases().count("joint") / self.config.epochs


def score_function(search: MaskSearch, draws: Sequence[dict[str, int]], losses: Sequence[Tensor]) -> Tensor:
    """Return a scalar whose gradient estimates that of the masks' expected loss, without bias, from two draws.

    Each draw's baseline is the other's loss on the same batch: what both have in common cancels.
    """
    first, second = (search.masks.log_probability(draw) for draw in draws)
    return ((losses[0] - losses[1]).to(first) / 2) * (first - second)


def searches_of(supernet: Supernet, settings: GradientSearch) -> list[MaskSearch]:
    """Return up to `settings.searches` searches: every target for the first coupling, then for the next."""
    space = supernet.space
    found: list[MaskSearch] = []
    for coupling in space.definition.couplings:
        largest = space.plan(space.extreme(coupling, largest=True))
        whole = float(largest.big_macs) if settings.measure is None else sum(settings.measure.halves(largest))
        for target in settings.targets:
            amount = target * whole if target <= 1 else target
            name = f"{coupling}@{target:g}"
            found.append(MaskSearch(space, coupling, target=amount, name=name, settings=settings))
    return found[: settings.searches]
