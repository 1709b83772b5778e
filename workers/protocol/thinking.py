"""Over-, under- and destructive thinking of a routed pair.

EVALUATION protocol, section 2.7; after Kaya, Hong and Dumitras, Shallow-Deep Networks, ICML 2019 (overthinking), and
Mehra et al., arXiv 2212.01562 (under shift).
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.protocol.outcomes import Outcomes
from workers.protocol.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking(Record):
    """Shares of all inputs, in [0, 1].

    Attributes:
        over: Escalated although the little is right.
        destructive: The part of `over` that the big then gets wrong.
        under: Kept although the little is wrong and the big right.
        futile: Escalated although both are wrong.
        useful: Escalated, little wrong, big right.
    """

    over: float
    destructive: float
    under: float
    futile: float
    useful: float

    @classmethod
    def of(cls, outcomes: Outcomes, threshold: float) -> Thinking:
        """Return the shares at `threshold`."""
        escalated, little, big = outcomes.escalates(threshold), outcomes.little_correct, outcomes.escalated_correct
        return cls(
            over=float((escalated & little).mean()),
            destructive=float((escalated & little & ~big).mean()),
            under=float((~escalated & ~little & big).mean()),
            futile=float((escalated & ~little & ~big).mean()),
            useful=float((escalated & ~little & big).mean()),
        )
