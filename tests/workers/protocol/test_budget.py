from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from workers.protocol.budget import TrainingBudget, TrainingPhase, affordable_epochs, independent_cascade_epochs

IMAGES = 40_000
LITTLE, BIG = 0.4e6, 2.8e6


def phase(macs, epochs, *, trained=True):
    return TrainingPhase(name="phase", forward_macs=macs, images=epochs * IMAGES, trained=trained)


def test_training_costs_three_forward_passes_and_a_teacher_one():
    assert phase(1e6, 30).tera_macs == pytest.approx(3 * 1e6 * 30 * IMAGES / 1e12)
    assert phase(1e6, 30, trained=False).tera_macs == pytest.approx(1e6 * 30 * IMAGES / 1e12)


def test_search_is_listed_apart():
    budget = TrainingBudget(phases=(phase(1e6, 10),), search_phases=(phase(1e6, 5, trained=False),))
    assert (budget.tera_macs, budget.search_tera_macs) == (pytest.approx(1.2), pytest.approx(0.2))
    assert budget.to_dict()["search_cpu_hours"] is None


@pytest.mark.parametrize(("distilled", "epochs"), [(False, 30), (True, 23)])
def test_a_cascade_gets_the_epochs_that_its_budget_pays_for(distilled, epochs):
    budget = TrainingBudget(phases=(phase(LITTLE, 30), phase(BIG, 30)))
    got = independent_cascade_epochs(
        budget.tera_macs, little_macs=LITTLE, big_macs=BIG, images_per_epoch=IMAGES, distilled=distilled
    )
    assert got == epochs
    teacher = (phase(BIG, got, trained=False),) if distilled else ()
    cascade = TrainingBudget(phases=(phase(LITTLE, got), phase(BIG, got), *teacher))
    assert cascade.tera_macs <= budget.tera_macs * (1 + 1e-9)
    assert cascade.equals(budget, tolerance=0.05)


def test_budgets_that_differ_are_not_equal():
    assert not TrainingBudget(phases=(phase(1e6, 30),)).equals(TrainingBudget(phases=(phase(1e6, 31),)))


def test_a_budget_below_one_epoch_is_refused():
    with pytest.raises(
        InvalidRequestError, match=r"0\.1 TMACs pay for no epoch of 0\.12 TMACs; give at least that many"
    ):
        affordable_epochs(0.1, macs_per_image=3e6, images_per_epoch=IMAGES)


def test_a_phase_without_macs_is_refused():
    with pytest.raises(InvalidRequestError, match=r"phase 'phase' has 0 MACs .* give MACs > 0"):
        phase(0, 1)
