"""What training cost: systems are compared at equal training MACs.

EVALUATION protocol, section 3: `TMACs = sum over steps of 3 x forward MACs of everything executed x batch`, search cost
apart. The factor 3 is one forward and twice its MACs for the backward pass (Kaplan et al., arXiv 2001.08361, section
2.1). Departure: what is executed without a backward pass, such as a teacher, is charged once and not three times, so
that no baseline pays for work that it did not do.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_service.errors import InvalidRequestError
from workers.protocol.record import Record

FORWARD_AND_BACKWARD = 3
TERA = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPhase(Record):
    """One network run on `images` images, epochs counted in, of `forward_macs` each.

    `trained` is False for what runs forward only: teachers, recalibration.
    """

    name: str
    forward_macs: float
    images: int
    trained: bool = True

    def __post_init__(self) -> None:
        if self.forward_macs <= 0 or self.images < 0:
            raise InvalidRequestError(
                f"phase {self.name!r} has {self.forward_macs} MACs on {self.images} images; give MACs > 0, images >= 0"
            )

    @property
    def tera_macs(self) -> float:
        """Its MACs in 10^12."""
        return (FORWARD_AND_BACKWARD if self.trained else 1) * self.forward_macs * self.images / TERA


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBudget(Record):
    """What a system cost to train, and, apart from that, to search; hours are None where nobody measured them."""

    phases: tuple[TrainingPhase, ...]
    search_phases: tuple[TrainingPhase, ...] = ()
    cpu_hours: float | None = None
    search_cpu_hours: float | None = None

    @property
    def tera_macs(self) -> float:
        """Training, in 10^12 MACs."""
        return sum(phase.tera_macs for phase in self.phases)

    @property
    def search_tera_macs(self) -> float:
        """Search, in 10^12 MACs."""
        return sum(phase.tera_macs for phase in self.search_phases)

    def equals(self, other: TrainingBudget, *, tolerance: float = 0.02) -> bool:
        """Return whether both systems' training MACs are within `tolerance` of the larger."""
        return abs(self.tera_macs - other.tera_macs) <= tolerance * max(self.tera_macs, other.tera_macs)


def affordable_epochs(tera_macs: float, *, macs_per_image: float, images_per_epoch: int) -> int:
    """Return the most epochs that a budget pays for.

    Args:
        tera_macs: The budget, in 10^12 MACs.
        macs_per_image: Of everything that one training image executes, backward passes included.
        images_per_epoch: Training images.

    Raises:
        InvalidRequestError: the budget does not pay for one epoch.
    """
    epochs = int(tera_macs * TERA / (macs_per_image * images_per_epoch) * (1 + 1e-12))
    if epochs < 1:
        needed = macs_per_image * images_per_epoch / TERA
        raise InvalidRequestError(f"{tera_macs:g} TMACs pay for no epoch of {needed:g} TMACs; give at least that many")
    return epochs


def independent_cascade_epochs(
    tera_macs: float, *, little_macs: float, big_macs: float, images_per_epoch: int, distilled: bool = False
) -> int:
    """Return the epochs that each of two independently trained nets gets from a co-training budget.

    `E (3 little + 3 big) images`, and one forward pass of the big for every image of the little's if it is distilled.
    """
    per_image = FORWARD_AND_BACKWARD * (little_macs + big_macs) + (big_macs if distilled else 0)
    return affordable_epochs(tera_macs, macs_per_image=per_image, images_per_epoch=images_per_epoch)
