"""What training does to its images, as a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from nas_service.errors import InvalidRequestError

STRONGEST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training changes a batch of images, in this order; all of it is off by default.

    Attributes:
        pad: Pixels of zero-padding on every side, out of which a window of the old size is cut at random.
        flip: Whether to flip left and right half of the time.
        randaugment: Random operations on every image, at least 0; 2 is usual.
        magnitude: Of those operations, in 0..30; 9 is usual.
        mixup: Mixup's Beta parameter, at least 0; 0 is off, 0.2 usual.
        cutmix: CutMix's Beta parameter, at least 0; 0 is off, 1 usual. With both, each batch takes one of them.
    """

    pad: int = 0
    flip: bool = False
    randaugment: int = 0
    magnitude: int = 9
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pad", "randaugment", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidRequestError(f"{name} is {getattr(self, name)} but must be at least 0; 0 turns it off")
        if not 0 <= self.magnitude <= STRONGEST:
            raise InvalidRequestError(f"magnitude is {self.magnitude} but must lie in 0..{STRONGEST}; 9 is usual")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others, so that their labels become soft."""
        return self.mixup > 0 or self.cutmix > 0

    def changed(self, change: Mapping[str, Any] | None) -> Augmentation:
        """Return it with the named values replaced; InvalidRequestError for an unknown name or a wrong value."""
        known = [f.name for f in fields(self)]
        if unknown := sorted(set(change or {}) - set(known)):
            raise InvalidRequestError(f"unknown augmentation key {unknown[0]!r}; choose from: {', '.join(known)}")
        return replace(self, **(change or {}))
