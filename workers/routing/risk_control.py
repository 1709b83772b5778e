"""Thresholds with a finite-sample guarantee: with probability 1 - delta, routing raises the error by at most epsilon.

Learn then Test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing from the safest threshold to the
cheapest, for the performance-gap risk of early exits (Jazbec et al., Fast yet Safe, arXiv 2405.20915):

    increase(tau) = E[ 1{reference right} - 1{routed right} ],   H(tau): increase(tau) > epsilon.

Each H is tested at level delta; the first that is not rejected ends the sequence, so the family-wise error is at most
delta, although the risk need not be monotone in the threshold. The per-image loss is -1, 0 or 1. Tests:

- `betting`: a test martingale (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, arXiv
  2010.09686): capital `prod_i (1 - bet (loss_i - epsilon))` with 0 <= bet < 1 / (1 - epsilon) has expectation at most 1
  under H, and so has its mean over fixed bets; its inverse is a p-value by Markov's inequality. Departure: bets do not
  adapt, so that the p-value depends on three counts and not on the order of the images.
- `binomial`: the exact binomial tail of the images that routing alone gets wrong. It ignores what routing gets right
  and the reference wrong, so that it guards against more than the increase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats, Mask, Outcomes
from workers.protocol.record import Record

BETS = np.geomspace(1e-3, 0.99, 48)  # shares of the largest bet

PValue = Callable[[Floats, float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuaranteedThreshold(Record):
    """What the tests allow.

    Attributes:
        threshold: The cheapest that was passed; None if not even the safest was.
        max_increase: Epsilon, in [0, 1].
        delta: Probability with which the guarantee may fail, over the draw of the calibration images.
        test: Name of the p-value.
        p_value: Of the threshold; None for always escalating with the own escalation as the reference: nothing to test.
        calibration_increase: Observed at the threshold.
        calibration_rate: Observed escalation rate.
        calibration_n: Images.
    """

    threshold: float | None
    max_increase: float
    delta: float
    test: str
    p_value: float | None
    calibration_increase: float | None
    calibration_rate: float | None
    calibration_n: int


def control_risk(
    calibration: Outcomes,
    *,
    thresholds: Sequence[float] | Floats,
    max_increase: float,
    delta: float,
    test: str = "betting",
    reference_correct: Mask | None = None,
) -> GuaranteedThreshold:
    """Return the cheapest threshold for which P(increase <= max_increase) >= 1 - delta.

    Args:
        calibration: Images that neither trained the nets or the router nor chose `thresholds`.
        thresholds: What may be chosen, in any order; fixed without these images, for example
            `FrozenSweep.freeze(scores of the validation split).thresholds`, else the guarantee is void.
        max_increase: Error that routing may add, in (0, 1).
        delta: In (0, 1).
        test: `betting` or `binomial`.
        reference_correct: (N,) whether the static big is right; None: the system's own escalation.

    Raises:
        InvalidRequestError: shares out of range, an unknown test, no thresholds, or a reference on other images.
    """
    reference = calibration.escalated_correct if reference_correct is None else reference_correct
    _check(calibration, thresholds, max_increase, delta, test, reference)
    chosen: float | None = np.inf if reference_correct is None else None
    evidence: float | None = None
    for threshold in sorted({float(t) for t in thresholds}, reverse=True):
        p_value = P_VALUES[test](_losses(calibration, threshold, reference), max_increase)
        if p_value > delta:
            break
        chosen, evidence = threshold, p_value
    return GuaranteedThreshold(
        threshold=chosen,
        max_increase=max_increase,
        delta=delta,
        test=test,
        p_value=evidence,
        calibration_increase=None if chosen is None else float(_losses(calibration, chosen, reference).mean()),
        calibration_rate=None if chosen is None else float(calibration.escalates(chosen).mean()),
        calibration_n=calibration.n,
    )


def betting_p_value(losses: Floats, max_mean: float) -> float:
    """Return a p-value of `E[loss] > max_mean` for independent losses (N,) of -1, 0 or 1."""
    bets = BETS / (1 - max_mean)
    values = np.array([-1.0, 0.0, 1.0])
    counts = np.array([np.count_nonzero(losses == value) for value in values])
    capital = np.log1p(-bets[:, None] * (values - max_mean)) @ counts
    return float(np.exp(min(0.0, np.log(len(bets)) - logsumexp(capital))))


def binomial_p_value(losses: Floats, max_mean: float) -> float:
    """Return the exact p-value of `P(loss = 1) > max_mean`, which `E[loss] > max_mean` implies."""
    return float(binom.cdf(np.count_nonzero(losses > 0), len(losses), max_mean))


P_VALUES: dict[str, PValue] = {"betting": betting_p_value, "binomial": binomial_p_value}


def _losses(calibration: Outcomes, threshold: float, reference: Mask) -> Floats:
    return reference.astype(np.float64) - calibration.correct(threshold)


def _check(
    calibration: Outcomes,
    thresholds: Sequence[float] | Floats,
    max_increase: float,
    delta: float,
    test: str,
    reference: Mask,
) -> None:
    if not (0 < max_increase < 1 and 0 < delta < 1):
        raise InvalidRequestError(f"max_increase {max_increase} and delta {delta}; both must lie between 0 and 1")
    if test not in P_VALUES:
        raise InvalidRequestError(f"unknown test {test!r}; choose one of: {', '.join(P_VALUES)}")
    if not len(thresholds) or len(reference) != calibration.n:
        raise InvalidRequestError(
            f"{len(thresholds)} thresholds, and a reference of {len(reference)} images for {calibration.n}; give at "
            "least one threshold and a reference on the same images"
        )
