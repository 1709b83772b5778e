"""A space of named, ordered choices: what a searcher needs to know of what it searches.

A point is a dict with one value per gene. Two points whose canonical forms are equal are the same thing
(a gene may be inactive in one of them); the form's JSON text is the point's phenotype, and searchers
count, compare and remember points by phenotype alone.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from nas_service.errors import InvalidRequestError

Value: TypeAlias = int | float | str | bool
Point: TypeAlias = dict[str, Value]


class ChoiceSpace:
    """Named genes, each with an ordered list of values.

    Args:
        choices: gene name -> its values, in order; numbers, strings or booleans, none twice.
        canonical: folds points that mean the same: takes a point, returns anything JSON-able that is equal for
            equal phenotypes. None when every point is its own phenotype.
        feasible: the hard constraints: takes a point, returns whether it may be asked at all.

    Raises:
        InvalidRequestError: no genes, a gene without values, a value twice, or a value of another type.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Value]],
        *,
        canonical: Callable[[Point], Any] | None = None,
        feasible: Callable[[Point], bool] | None = None,
    ) -> None:
        if not choices:
            raise InvalidRequestError("a space without genes was given; give at least one gene with one value")
        self._choices = {_gene_name(name): _gene_values(name, values) for name, values in choices.items()}
        self._index = {name: {v: i for i, v in enumerate(values)} for name, values in self._choices.items()}
        self._canonical = canonical
        self._feasible = feasible

    @property
    def choices(self) -> dict[str, tuple[Value, ...]]:
        """Gene name -> its values, both in order; a copy."""
        return dict(self._choices)

    @property
    def names(self) -> tuple[str, ...]:
        """The genes' names, in order."""
        return tuple(self._choices)

    @property
    def size(self) -> int:
        """How many raw points there are, before folding and constraints."""
        return math.prod(len(values) for values in self._choices.values())

    @property
    def folds(self) -> bool:
        """Whether several points may share a phenotype."""
        return self._canonical is not None

    @property
    def constrained(self) -> bool:
        """Whether hard constraints forbid points."""
        return self._feasible is not None

    def identity(self) -> dict[str, Any]:
        """What tells the space from others of the same choices, as JSON values; functions tell nothing."""
        return {}

    def is_ordinal(self, name: str) -> bool:
        """Whether the gene's values are numbers, so that neighbouring ones are alike."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self._choices[name])

    def contains(self, x: Mapping[str, Any]) -> bool:
        """Whether x has exactly the space's genes, each with one of its values. Constraints are not looked at."""
        try:
            self.encode(x)
        except InvalidRequestError:
            return False
        return True

    def is_feasible(self, x: Mapping[str, Any]) -> bool:
        """Whether the point meets the hard constraints."""
        return self._feasible is None or bool(self._feasible(self.decode(self.encode(x))))

    def encode(self, x: Mapping[str, Any]) -> list[int]:
        """The point as one index per gene, in the genes' order.

        Raises:
            InvalidRequestError: a gene is missing or unknown, or its value is not among the choices.
        """
        indexes = []
        for name, index in self._index.items():
            try:
                indexes.append(index[x[name]])
            except (KeyError, TypeError):
                self._refuse(x)
        if len(x) != len(indexes):
            self._refuse(x)
        return indexes

    def decode(self, indexes: Sequence[int]) -> Point:
        """The point at these indexes, one per gene; the inverse of encode."""
        return {name: values[i] for (name, values), i in zip(self._choices.items(), indexes, strict=True)}

    def phenotype(self, x: Mapping[str, Any]) -> str:
        """The point's canonical form as stable JSON text: equal exactly when two points mean the same.

        Raises:
            InvalidRequestError: x is not a point of the space, or `canonical` returned what JSON cannot hold.
        """
        return self._key(self._form(self.decode(self.encode(x))))

    def fold(self, x: Mapping[str, Any]) -> Point:
        """The representative of x's phenotype.

        That is canonical(x) where this is itself a point of the space with the same phenotype, else x as it is.
        """
        return self.resolve(x)[1]

    def resolve(self, x: Mapping[str, Any]) -> tuple[str, Point]:
        """The phenotype and the folded point of x in one step: what a searcher's inner loop calls."""
        point = self.decode(self.encode(x))
        if self._canonical is None:
            return self._key(point), point
        form = self._form(point)
        key = self._key(form)
        if isinstance(form, Mapping) and self.contains(form):
            folded = self.decode(self.encode(form))
            if folded == point or self._key(self._form(folded)) == key:
                return key, folded
        return key, point

    def sample(self, rng: np.random.Generator) -> Point:
        """A point drawn uniformly from the raw points."""
        return {name: values[int(rng.integers(len(values)))] for name, values in self._choices.items()}

    def neighbours(self, x: Mapping[str, Any]) -> Iterator[Point]:
        """Every raw point that differs from x in one gene, in the genes' order."""
        indexes = self.encode(x)
        for gene, values in enumerate(self._choices.values()):
            for other in range(len(values)):
                if other != indexes[gene]:
                    yield self.decode([*indexes[:gene], other, *indexes[gene + 1 :]])

    def mutate(self, x: Mapping[str, Any], rng: np.random.Generator) -> Point:
        """A raw point near x: each gene changes with probability 1/genes, at least one where any can.

        A numeric gene moves to an adjacent value half of the time, otherwise anywhere else.
        """
        indexes = self.encode(x)
        movable = [g for g, values in enumerate(self._choices.values()) if len(values) > 1]
        if not movable:
            return self.decode(indexes)
        chosen = [g for g in movable if rng.random() < 1.0 / len(movable)] or [int(rng.choice(movable))]
        for gene in chosen:
            name = self.names[gene]
            indexes[gene] = _moved(indexes[gene], len(self._choices[name]), self.is_ordinal(name), rng)
        return self.decode(indexes)

    def crossover(self, a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator) -> Point:
        """A raw point that takes each gene from a or from b with equal chance (uniform crossover)."""
        take_b = rng.random(len(self._choices)) < 0.5
        return self.decode([j if t else i for i, j, t in zip(self.encode(a), self.encode(b), take_b, strict=True)])

    def enumerate(self) -> Iterator[Point]:
        """All raw points, one at a time, the last gene changing fastest."""
        for values in itertools.product(*self._choices.values()):
            yield dict(zip(self._choices, values, strict=True))

    def _form(self, point: Point) -> Any:
        return point if self._canonical is None else self._canonical(dict(point))

    @staticmethod
    def _key(form: Any) -> str:
        try:
            return json.dumps(form, sort_keys=True, separators=(",", ":"), default=_plain)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"canonical returned {form!r}, which JSON cannot hold ({error}); return dicts, lists, tuples, numbers "
                "and strings"
            ) from error

    def _refuse(self, x: Any) -> None:
        if not isinstance(x, Mapping):
            raise InvalidRequestError(f"point {x!r} is not a mapping; give a dict with one value per gene")
        if missing := [name for name in self._choices if name not in x]:
            raise InvalidRequestError(f"point {dict(x)!r} lacks gene {missing[0]!r}; give every gene of {self.names}")
        if unknown := [name for name in x if name not in self._choices]:
            raise InvalidRequestError(f"point has unknown gene {unknown[0]!r}; the space's genes are {self.names}")
        for name, values in self._choices.items():
            if x[name] not in values:
                raise InvalidRequestError(f"gene {name!r} has value {x[name]!r}; choose one of {list(values)}")


def _gene_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"gene name {name!r} is not text; name every gene with a non-empty string")
    return name


def _gene_values(name: str, values: Sequence[Value]) -> tuple[Value, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray | range):
        raise InvalidRequestError(f"gene {name!r} has choices {values!r}; give a list of values")
    plain = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    if not plain:
        raise InvalidRequestError(f"gene {name!r} has no choices; give it at least one value")
    for value in plain:
        if not isinstance(value, int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidRequestError(
                f"gene {name!r} has the choice {value!r}; choices are finite numbers, strings and booleans"
            )
    if len(set(plain)) < len(plain):
        twice = next(v for i, v in enumerate(plain) if v in plain[:i])
        raise InvalidRequestError(f"gene {name!r} has the choice {twice!r} twice; list every value once")
    return plain


def _moved(index: int, count: int, ordinal: bool, rng: np.random.Generator) -> int:
    """Another index in [0, count): adjacent half of the time if the gene is ordinal, else uniform."""
    if ordinal and rng.random() < 0.5:
        beside = [i for i in (index - 1, index + 1) if 0 <= i < count]
        return int(rng.choice(beside))
    other = int(rng.integers(count - 1))
    return other + (other >= index)


def _plain(value: Any) -> Any:
    """What json.dumps does not know by itself: numpy scalars and arrays, and sets."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is not JSON")
