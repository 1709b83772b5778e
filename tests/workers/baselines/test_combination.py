from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from workers.baselines.combination import combination_weight, joined
from workers.bench.system import SystemOutputs


def outputs(logits, labels):
    return SystemOutputs(logits=np.asarray(logits, dtype=np.float32)[None], labels=labels)


def drawn_from(alpha, *, count=20_000, scale=1.0):
    """Return outputs of two nets, and labels drawn from the softmax of `scale * (big + alpha * little)`."""
    rng = np.random.default_rng(0)
    little, big = rng.normal(0, 2, (2, count, 5))
    logits = scale * (big + alpha * little)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return outputs(little, labels), outputs(big, labels)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_likeliest_weight_is_found_whatever_the_temperature(alpha, scale):
    assert combination_weight(*drawn_from(alpha, scale=scale)) == pytest.approx(alpha, abs=0.05)


def test_a_little_that_speaks_against_the_truth_gets_no_weight():
    little, big = drawn_from(1.0)
    against = SystemOutputs(logits=-little.logits, labels=little.labels)
    assert combination_weight(against, big) == 0


def test_joined_outputs_are_the_little_and_both_combined():
    little, big = drawn_from(0.5, count=10)
    cascade = joined(little, big, alpha=0.5)
    np.testing.assert_array_equal(cascade.logits[0], little.logits[0])
    np.testing.assert_allclose(cascade.logits[1], big.logits[0] + 0.5 * little.logits[0], rtol=1e-6)
    assert cascade.logits.dtype == np.float32


def test_outputs_of_different_images_are_refused():
    little, big = drawn_from(0.5, count=10)
    other = SystemOutputs(logits=big.logits, labels=(big.labels + 1) % 5)
    with pytest.raises(InvalidRequestError, match="are not of two static nets on the same images; run both on one"):
        joined(little, other, alpha=0.5)
