from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.space import load_definition
from nas_service.trajectory import Trajectory
from workers.evolving.learning import make_learner
from workers.evolving.settings import Coevolution, Evolution, GradientSearch, Shrinking
from workers.learner import Batch
from workers.learners.gradient import GradientLearner
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport, Trainer

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(epochs=3, batch_size=32)
GRADIENT = GradientSearch(targets=(0.2, 0.5), warm_up=0.25, fine_tune=0.25)
COEVOLVE = Coevolution(population=3, every=1, warm_up=0.25, images=60, recalibration=40)
EVOLUTIONS = {"gradient": GRADIENT, "coevolve": COEVOLVE, "shrinking": Shrinking()}


def micro_of(*couplings: str, **constraints: float) -> PairSpace:
    definition = load_definition("micro", couplings=couplings or None)
    return PairSpace(definition, channels=1, resolution=8, classes=10, constraints=constraints)


def run(space: PairSpace, small: Any, evolution: Evolution, *, resume: bytes | None = None, config=CONFIG):
    """Train and return (learner, reports)."""
    supernet = Supernet(space, seed=0 if resume is None else 99)
    learner = make_learner(supernet, config, evolution, dataset=small[0], splits=small[1])
    return learner, list(Trainer(learner, *small, config).epochs(resume))


def batch(images: torch.Tensor, labels: torch.Tensor, *, step: int = 0) -> Batch:
    return Batch(images=images, labels=labels, step=step, steps=12, generator=torch.Generator().manual_seed(step))


@pytest.fixture(scope="module")
def runs(small) -> dict[str, tuple[Any, list[EpochReport]]]:
    torch.set_num_threads(1)
    return {name: run(micro_of("nested"), small, evolution) for name, evolution in EVOLUTIONS.items()}


@pytest.mark.parametrize(("name", "stop"), [("gradient", 1), ("gradient", 2), ("coevolve", 2), ("shrinking", 2)])
def test_a_resumed_run_ends_with_the_same_bits(runs, small, name, stop):
    _, reports = runs[name]
    _, rest = run(micro_of("nested"), small, EVOLUTIONS[name], resume=reports[stop - 1].checkpoint)
    assert [r.epoch for r in rest] == list(range(stop + 1, 4))
    assert rest[-1].checkpoint == reports[-1].checkpoint


@pytest.mark.parametrize(
    ("name", "other"), [("gradient", "coevolve"), ("coevolve", "shrinking"), ("shrinking", "gradient")]
)
def test_a_checkpoint_of_another_way_to_evolve_is_refused(runs, small, name, other):
    with pytest.raises(InvalidRequestError, match=r"remembers no \w+: its dimensions evolved in another way"):
        run(micro_of("nested"), small, EVOLUTIONS[name], resume=runs[other][1][0].checkpoint)


@pytest.mark.parametrize("name", ["gradient", "coevolve", "shrinking"])
def test_the_trajectory_has_a_step_for_every_epoch_from_the_first_distribution_on(runs, name):
    learner, _ = runs[name]
    trajectory = Trajectory.from_dict(learner.state()["trajectory"])
    assert [step.epoch for step in trajectory.steps] == [0, 1, 2, 3]
    for step in trajectory.steps:
        for one in step.evolving.values():
            assert all(sum(p) == pytest.approx(1, abs=1e-3) for p in one.probabilities.values())


def test_shrinking_is_drawn_as_choices_that_open(runs):
    steps = runs["shrinking"][0].past.steps
    largest = [step.evolving["sampled"].probabilities["big1_width"][-1] for step in steps]
    assert largest[1] == 1.0  # the largest pairs are trained alone at first
    assert largest == sorted(largest, reverse=True)
    assert largest[-1] < 1


def test_masks_move_in_the_search_alone_and_are_hard_after_it(runs):
    steps = runs["gradient"][0].past.steps
    widths = [step.evolving["nested@0.2"].probabilities["big1_width"] for step in steps]
    assert widths[0] == widths[1] == pytest.approx((1 / 3,) * 3, abs=1e-4)
    assert widths[2] != widths[1]
    last = runs["gradient"][0].state()["trajectory"]["steps"][-1]["evolving"]["nested@0.2"]
    assert sorted(last["probabilities"]["big1_width"]) == [0.0, 0.0, 1.0]


def test_every_search_finds_a_pair_of_the_space(runs):
    learner, _ = runs["gradient"]
    assert [search.name for search in learner.searches] == ["nested@0.2", "nested@0.5"]
    for point in learner.state()["found"]:
        micro_of("nested").plan(point)


def test_a_hard_mask_draws_one_pair_and_runs_exactly_that_pair(digits):
    learner = GradientLearner(Supernet(micro_of("triangular")), CONFIG, GRADIENT)
    search, generator = learner.searches[0], torch.Generator().manual_seed(0)
    for logits in search.masks.logits.values():
        logits.data[0] = 100.0
    search.masks.exploration = 0.0
    plan = search.plan(search.masks.draw(generator))
    assert plan == search.plan(search.masks.likeliest())
    images = torch.rand(16, 1, 8, 8)
    pair = learner.supernet.extract(plan).train()
    for ours, theirs in zip(learner.supernet(images, plan), pair(images), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_cost_term_alone_moves_masks_and_router(digits):
    learner = GradientLearner(Supernet(micro_of("nested")), CONFIG, GRADIENT)
    search = learner.searches[0]
    search.multiplier.fill_(1.0)
    log_odds = search.router(torch.randn(8, 10))
    search.penalty(search.masks.draw(torch.Generator().manual_seed(0)), log_odds.sigmoid(), genes=None).backward()
    assert search.masks.logits["little1_width"].grad.abs().sum() > 0
    assert search.masks.logits["big1_width"].grad.abs().sum() > 0
    assert sum(float(p.grad.abs().sum()) for p in search.router.parameters()) > 0


def test_the_multiplier_rises_while_a_search_is_too_costly_and_falls_after():
    learner = GradientLearner(Supernet(micro_of("nested")), CONFIG, GRADIENT)
    search = learner.searches[0]
    choice, seen = dict.fromkeys(search.masks.choices, 0), []
    for target in (1.0, 1e9):
        search.target = target
        search.penalty(choice, torch.full((4,), 0.5), genes=None)
        search.finish_step(progress=0.0, steps=10**8)
        seen.append(float(search.multiplier))
    assert seen[0] > 0
    assert seen[1] < seen[0]


def test_the_optimiser_leaves_the_masks_to_their_own_rule():
    learner = GradientLearner(Supernet(micro_of("nested")), CONFIG, GRADIENT)
    held = {id(p) for group in learner.groups(weight_decay=1e-4) for p in group["params"]}
    masks = {id(p) for s in learner.searches for p in s.masks.parameters()}
    routers = {id(p) for s in learner.searches for p in s.router.parameters()}
    assert masks
    assert not masks & held
    assert routers <= held


def test_searches_are_bounded_and_cover_targets_before_couplings():
    learner = GradientLearner(
        Supernet(micro_of("stem", "nested")), CONFIG, GradientSearch(targets=(0.2, 9e4), searches=3)
    )
    assert [s.name for s in learner.searches] == ["stem@0.2", "stem@90000", "nested@0.2"]
    largest = micro_of("stem").plan(micro_of("stem").extreme("stem", largest=True))
    assert [s.target for s in learner.searches][:2] == [0.2 * largest.big_macs, 9e4]


def test_a_population_counts_what_it_cost_and_meets_the_constraints(small):
    learner, _ = run(micro_of("nested", params=9000), small, COEVOLVE)
    state = learner.state()
    assert state["evaluations"] == 3 + 6  # before epochs 2 and 3
    assert state["search_macs"] > 9 * 100 * 5e4
    assert len(state["found"]) == 3
    assert all(micro_of().plan(p).params() <= 9000 for p in state["found"])


def test_random_pairs_are_drawn_near_the_population(runs):
    learner, _ = runs["coevolve"]
    generator = torch.Generator().manual_seed(0)
    drawn = [learner._source("nested", generator) for _ in range(100)]
    genes = micro_of("nested").names
    near = [min(sum(d[g] != p[g] for g in genes) for p in learner.population) <= 2 for d in drawn]
    uniform = [micro_of("nested").sample(np.random.default_rng(i)) for i in range(100)]
    near_by_chance = [min(sum(d[g] != p[g] for g in genes) for p in learner.population) <= 2 for d in uniform]
    assert sum(near) > sum(near_by_chance) + 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientSearch(targets=()), r"cost targets are \[\] for 64 searches; give at least one, above 0"),
        (lambda: GradientSearch(targets=(0.5,), warm_up=0.7, fine_tune=0.4), "leave epochs for the search"),
        (lambda: Coevolution(population=1), "population 1 must be at least 2"),
        (lambda: Coevolution(elite=1.5), r"elite 1.5 in \[0, 1\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(InvalidRequestError, match=message):
        make()


@pytest.mark.parametrize(
    ("epochs", "phases"),
    [(10, ["warm_up"] * 2 + ["joint"] * 4 + ["fine_tune"] * 4), (1, ["joint"]), (2, ["joint", "fine_tune"])],
)
def test_there_is_always_an_epoch_of_search(epochs, phases):
    settings = GradientSearch(targets=(0.5,))
    assert [settings.phase(epoch, epochs) for epoch in range(epochs)] == phases


@pytest.mark.slow
def test_a_lower_cost_target_gives_a_cheaper_pair(digits, splits):
    config = TrainConfig(epochs=8, batch_size=32)
    learner, reports = run(micro_of("stem"), (digits, splits), GradientSearch(targets=(0.08, 0.9)), config=config)
    cheap, rich = learner.searches
    assert cheap.expected(cheap.choice) < 0.7 * rich.expected(rich.choice)
    assert cheap.expected(cheap.choice) <= cheap.target
    assert reports[-1].accuracies[f"{rich.name}_big"] > 0.7
