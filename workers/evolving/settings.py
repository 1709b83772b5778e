"""How dimensions evolve during training, as values: what a job says, and what a learner is built from."""

from __future__ import annotations

from dataclasses import dataclass

from nas_service.errors import InvalidRequestError
from workers.cotraining.terms import Phase
from workers.evolving.cost import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSearch:
    """Masks that are trained with the weights.

    Attributes:
        targets: Expected costs of an image, one search for each: at most 1 is a share of the largest pair's big, more
            are in the measure's unit.
        measure: What pairs cost; MACs if None.
        searches: How many (coupling, target) there are at most, targets first.
        warm_up: Share of the epochs in which all pairs are trained alike.
        fine_tune: Share of the epochs, at the end, in which only the hardened pairs are trained.
        exploration: Share of the probabilities that stays uniform, from the first to the last step of the search.
        travel: How far a mask's logit can move in a search.
        dual_gain: What the multiplier would gain in a search whose expected cost stayed at twice its target.
        cost_genes: Genes of a step whose effect on the cost is computed; None for all.
    """

    targets: tuple[float, ...]
    measure: Measure | None = None
    searches: int = 64
    warm_up: float = 0.2
    fine_tune: float = 0.4
    exploration: tuple[float, float] = (0.3, 0.03)
    travel: float = 16.0
    dual_gain: float = 8.0
    cost_genes: int | None = 4

    def __post_init__(self) -> None:
        if not self.targets or min(self.targets) <= 0 or self.searches < 1:
            raise InvalidRequestError(
                f"cost targets are {list(self.targets)} for {self.searches} searches; give at least one, above 0"
            )
        if min(self.warm_up, self.fine_tune) < 0 or self.warm_up + self.fine_tune >= 1:
            raise InvalidRequestError(
                f"warm_up {self.warm_up:g} and fine_tune {self.fine_tune:g} must be at least 0 and leave epochs for "
                "the search; lower one of them"
            )
        if not all(0 <= share < 1 for share in self.exploration) or min(self.travel, self.dual_gain) <= 0:
            raise InvalidRequestError(
                f"exploration {self.exploration} must lie in [0, 1), travel {self.travel:g} and dual_gain "
                f"{self.dual_gain:g} above 0"
            )

    def phase(self, epoch: int, epochs: int) -> Phase:
        """Return what epoch `epoch`, from 0, of `epochs` is for: `warm_up`, `joint` (the search) or `fine_tune`.

        There is always an epoch of search.
        """
        first = min(round(self.warm_up * epochs), epochs - 1)
        last = max(epochs - round(self.fine_tune * epochs), first + 1)
        return "warm_up" if epoch < first else ("joint" if epoch < last else "fine_tune")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coevolution:
    """A population of pairs that evolves every few epochs and draws the training towards itself.

    Attributes:
        population: Pairs that are kept, and children of a step.
        every: Epochs from one step to the next; there is always one before the last epoch.
        warm_up: Share of the epochs before the first step.
        elite: Share of the random pairs that are mutants of the population; the others are uniform.
        images: Validation images that a pair is scored on.
        recalibration: Training images for its BatchNorm.
    """

    population: int = 16
    every: int = 2
    warm_up: float = 0.2
    elite: float = 0.5
    images: int = 1000
    recalibration: int = 500

    def __post_init__(self) -> None:
        if self.population < 2 or min(self.every, self.images, self.recalibration) < 1:
            raise InvalidRequestError(
                f"population {self.population} must be at least 2, every {self.every}, images {self.images} and "
                f"recalibration {self.recalibration} at least 1"
            )
        if not 0 <= self.warm_up < 1 or not 0 <= self.elite <= 1:
            raise InvalidRequestError(f"warm_up {self.warm_up:g} must lie in [0, 1) and elite {self.elite:g} in [0, 1]")

    def evolves(self, epoch: int, epochs: int) -> bool:
        """Return whether a step precedes epoch `epoch`, from 0, of `epochs`."""
        first = min(round(self.warm_up * epochs), epochs - 1)
        return epoch == epochs - 1 or (epoch >= first and (epoch - first) % self.every == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinking:
    """Progressive shrinking: dimensions become elastic one after another, largest choices first.

    Attributes:
        delay: Share of the epochs in which only the largest pairs are trained.
        opened: Share of the epochs after which every choice is open.
        order: Which genes open, in turn, by the ends of their names.
    """

    delay: float = 0.2
    opened: float = 0.7
    order: tuple[tuple[str, ...], ...] = (("kernel",), ("depth",), ("width", "expansion", "resolution"))

    def __post_init__(self) -> None:
        if not 0 <= self.delay < self.opened <= 1 or not self.order:
            raise InvalidRequestError(
                f"shrinking from {self.delay:g} to {self.opened:g} must rise within [0, 1] and open something"
            )


Evolution = GradientSearch | Coevolution | Shrinking
