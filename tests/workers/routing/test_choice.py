"""What is chosen for a finished pair, and from which images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.evaluation import Outputs
from workers.protocol.quality import auroc
from workers.routers import LEARNED
from workers.routing import choice
from workers.routing.choice import Risk, Routing, RoutingOptions, choose_routing
from workers.routing.temperature import Temperature

CLASSES = 4


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def outputs(n: int = 2000, *, seed: int = 0, scale: float = 1.0) -> Outputs:
    """Of a little that takes 0 and 1 for each other, which the big mends, and 2 and 3, which the big mistakes, too."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size=n)
    little = rng.normal(scale=0.3, size=(n, CLASSES))
    little[np.arange(n), labels] += 1.5 + rng.normal(size=n)
    little[np.arange(n), labels ^ 1] += rng.random(n) * 2
    big = rng.normal(scale=0.3, size=(n, CLASSES))
    big[np.arange(n), labels] += np.where(labels < 2, 3.0, 0.0)
    big += np.where(labels < 2, 0.0, 1.0)[:, None] * little
    logits = (torch.from_numpy(z * scale).float() for z in (little, big))
    return Outputs(little_logits=next(logits), escalated_logits=next(logits), labels=labels)


def mislabelled(given: Outputs, part: slice) -> Outputs:
    labels = given.labels.copy()
    labels[part] = (labels[part] + 1) % CLASSES
    return dataclasses.replace(given, labels=labels)


def weights(routing: Routing) -> list[float]:
    return torch.cat([p.flatten() for p in routing.router.learned.parameters()]).tolist()


EVEN, ODD = slice(0, None, 2), slice(1, None, 2)


def test_a_learned_router_is_fitted_on_one_half_and_its_thresholds_are_chosen_on_the_other():
    ours = choose_routing(outputs(), router=LEARNED)
    other_choice = choose_routing(mislabelled(outputs(), ODD), router=LEARNED)
    other_fit = choose_routing(mislabelled(outputs(), EVEN), router=LEARNED)
    assert weights(ours) == weights(other_choice) != weights(other_fit)
    assert ours.thresholds != other_choice.thresholds
    assert (ours.fit["fit_n"], ours.fit["choose_n"], ours.calibration.n) == (1000, 1000, 1000)


def test_where_nothing_can_be_learned_the_margin_decides_and_the_user_is_told():
    sure = dataclasses.replace(outputs(), escalated_logits=outputs().little_logits)
    routing = choose_routing(sure, router=LEARNED)
    assert "the router could not be learned: escalation mends 0 of 1000 held-out images" in routing.notes[0]
    assert routing.fit["taught"] is False
    best = torch.log_softmax(sure.little_logits, dim=1).topk(2, dim=1).values
    np.testing.assert_allclose(routing.router.scores(sure.little_logits), (best[:, 0] - best[:, 1]).numpy(), atol=1e-5)


@pytest.mark.parametrize("router", ["msp", "margin", "entropy"])
def test_a_formula_gets_a_temperature_and_all_images(router):
    routing = choose_routing(outputs(scale=3.0), router=router)
    assert routing.router.temperature > 1.5
    assert routing.fit["temperature"]["kept"] is True
    assert (routing.calibration.n, routing.fit["halved"]) == (2000, False)


def test_without_a_temperature_the_logits_stay_as_they_are():
    routing = choose_routing(outputs(), router="msp", options=RoutingOptions(temperature=False))
    assert routing.router.temperature == 1
    assert "temperature" not in routing.fit


def test_a_temperature_that_makes_sure_scores_equal_is_not_taken(monkeypatch):
    saturating = Temperature(value=0.05, nll_before=1.0, nll_after=0.5)
    monkeypatch.setattr(choice, "fit_temperature", lambda logits, labels: saturating)
    routing = choose_routing(outputs(), router="msp")
    assert routing.router.temperature == 1
    assert routing.fit["temperature"]["kept"] is False


def test_class_thresholds_are_added_where_they_gain_and_cost_no_more():
    routing = choose_routing(outputs(), router="msp", options=RoutingOptions(class_thresholds=True))
    scored, points = routing.calibration, routing.thresholds
    by_class = {name for name in points if name.endswith("-by-class")}
    assert by_class
    for name in by_class:
        assert len(points[name]) == CLASSES
        single = points[name.removesuffix("-by-class")]
        assert scored.accuracy(points[name]) > scored.accuracy(single)
        assert scored.rate(points[name]) <= scored.rate(single)


def test_a_guaranteed_point_escalates_less_than_always_and_comes_with_its_certificate():
    routing = choose_routing(outputs(), router="margin", options=RoutingOptions(risk=Risk(epsilon=0.05)))
    threshold = routing.thresholds["risk-0.05"]
    assert 0 < routing.calibration.rate(threshold) < 1
    certificate = routing.fit["risk"]
    assert (certificate["threshold"], certificate["calibration_n"], certificate["delta"]) == (threshold, 1000, 0.05)
    assert certificate["p_value"] <= 0.05


def test_the_guarantee_is_tested_on_images_that_fixed_neither_scores_nor_thresholds():
    wish = RoutingOptions(risk=Risk(epsilon=0.05))
    ours, theirs = (
        choose_routing(given, router="msp", options=wish) for given in (outputs(), mislabelled(outputs(), ODD))
    )
    assert ours.router.temperature == theirs.router.temperature
    assert ours.fit["risk"] != theirs.fit["risk"]


def test_what_cannot_be_certified_is_left_out_and_said():
    routing = choose_routing(outputs(60), router="margin", options=RoutingOptions(risk=Risk()))
    assert "risk-0.01" not in routing.thresholds
    assert "30 images certify no threshold that adds at most 0.01 to the error" in routing.notes[0]
    assert "give more calibration data, or a larger epsilon or delta" in routing.notes[0]


def test_in_the_search_a_router_never_scores_what_it_was_fitted_on():
    """Where benefit is pure chance, a router's scores of its own data foretell it, and cross-fitted ones do not."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(2, 300, 8))).float()
    given = Outputs(little_logits=noise[0], escalated_logits=noise[1], labels=rng.integers(0, 8, size=300))
    benefit = torch.from_numpy(rng.random(300) < 0.2).numpy()
    labels = np.where(benefit, given.escalated_logits.argmax(1).numpy(), given.little_logits.argmax(1).numpy())
    given = dataclasses.replace(given, labels=labels)
    own = auroc(given.fitted(LEARNED).scores(given.little_logits), given.benefit.numpy())
    crossed = auroc(given.scores(LEARNED), given.benefit.numpy())
    assert abs(own - 0.5) > 0.12
    assert abs(crossed - 0.5) < abs(own - 0.5) - 0.05


def test_in_the_search_too_little_to_learn_from_is_no_failure():
    given = dataclasses.replace(outputs(100), escalated_logits=outputs(100).little_logits)
    assert len(given.curve(LEARNED).thresholds) > 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choose_routing(outputs(), router="oracle"), "unknown router 'oracle'"),
        (lambda: choose_routing(outputs(1), router=LEARNED), "1 calibration image cannot be halved"),
        (lambda: Risk(epsilon=0.0), r"risk epsilon 0.0 and delta 0.05; both must lie in \(0, 1\)"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(make, message):
    with pytest.raises(InvalidRequestError, match=message):
        make()
