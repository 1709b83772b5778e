"""Over-, under- and destructive thinking of a routed pair, or of a net with more exits.

EVALUATION protocol, section 2.7; after Kaya, Hong and Dumitras, Shallow-Deep Networks, ICML 2019 (overthinking), and
Mehra et al., arXiv 2212.01562 (under shift).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.protocol.answers import Answers
from workers.protocol.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking(Record):
    """Shares of all inputs, in [0, 1]; of a pair, later exits are the escalated prediction.

    Attributes:
        over: Escalated although the little, or another earlier exit, is right.
        destructive: The part of `over` that is then answered wrong.
        under: Answered wrong although the big, or another later exit, is right and no earlier one.
        futile: Escalated although no exit is right.
        useful: Escalated and answered right, as no earlier exit would have.
    """

    over: float
    destructive: float
    under: float
    futile: float
    useful: float

    @classmethod
    def of(cls, answers: Answers) -> Thinking:
        """Return the shares."""
        correct, right, escalated = answers.correct, answers.right, answers.escalated
        before = np.arange(len(correct))[:, None] < answers.taken
        earlier, ever = (correct & before).any(axis=0), correct.any(axis=0)
        return cls(
            over=float(earlier.mean()),
            destructive=float((earlier & ~right).mean()),
            under=float((~earlier & ~right & ever).mean()),
            futile=float((escalated & ~ever).mean()),
            useful=float((escalated & ~earlier & right).mean()),
        )
