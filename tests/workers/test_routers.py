from __future__ import annotations

import math

import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.routers import SCORES, score_function

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
    with pytest.raises(InvalidRequestError, match="unknown router 'mps'; choose one of: msp, margin, entropy"):
        score_function("mps")
