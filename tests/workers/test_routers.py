from __future__ import annotations

import math

import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.routers import SCORES, Router, msp
from workers.routing.features import RouterFeatures
from workers.routing.learned import LearnedRouter, untaught_router

LOGITS = torch.tensor([[math.log(6), math.log(3), 0.0], [0.0, 0.0, 0.0]])  # softmax .6 .3 .1, and a third each


@pytest.mark.parametrize(
    ("router", "expected"),
    [
        ("msp", [0.6, 1 / 3]),
        ("margin", [0.3, 0.0]),
        ("entropy", [sum(p * math.log(p) for p in (0.6, 0.3, 0.1)), -math.log(3)]),
    ],
)
def test_scores_of_known_probabilities(router, expected):
    torch.testing.assert_close(SCORES[router](LOGITS), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("router", SCORES)
def test_surer_logits_score_higher(router):
    scores = SCORES[router](torch.tensor([[0.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 9.0, 0.0]]))
    assert scores.tolist() == sorted(scores.tolist())
    assert torch.isfinite(SCORES[router](torch.tensor([[300.0, -300.0]]))).all()


def test_unknown_router_names_the_known_ones():
    with pytest.raises(InvalidRequestError, match="unknown router 'mps'; choose one of: msp, margin, entropy, learned"):
        Router(name="mps")


def test_a_temperature_divides_the_logits_first():
    assert Router(name="msp", temperature=2.0).scores(LOGITS).tolist() == msp(LOGITS / 2).tolist()


def test_an_untaught_router_ranks_by_the_margin_of_log_probabilities():
    scores = Router(name="learned", learned=untaught_router(3)).scores(LOGITS)
    assert scores.tolist() == pytest.approx([math.log(6) - math.log(3), 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Router(name="learned"), "'learned' without a fitted module"),
        (lambda: Router(name="msp", learned=untaught_router(3)), "'msp' with a fitted module"),
        (lambda: Router(name="msp", temperature=0.0), "temperature is 0.0 but must be finite and above 0"),
        (lambda: Router(name="learned", learned=untaught_router(3), temperature=2.0), "a learned router takes none"),
        (lambda: Router(name="learned", learned=pooled_router()), "reads 4 pooled features"),
    ],
)
def test_routers_that_cannot_score_are_refused(make, message):
    with pytest.raises(InvalidRequestError, match=message):
        make()


def pooled_router() -> LearnedRouter:
    features = RouterFeatures(classes=3, pooled=4)
    return LearnedRouter(features, torch.nn.Linear(features.size, 1))
