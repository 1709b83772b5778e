"""Searching one half of a pair by itself: the same searchers, on an independent supernet, each half scored alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.errors import InvalidRequestError
from nas_service.layers import macs, params
from nas_service.pair_space import PairSpace
from nas_service.plan import NetworkPlan
from nas_service.space_definition import StageChoices
from workers.evaluation import EvaluationContext, fold, recalibrate
from workers.supernet import Supernet

Half = Literal["little", "big"]
Score = Callable[[NetworkPlan], float]
MakeSearcher = Callable[..., Any]  # as `nas_service.search.make_searcher`
SEARCHER = "auto"


def independent_space(space: PairSpace) -> PairSpace:
    """Return the space of the same halves without any coupling."""
    return PairSpace(
        replace(space.definition, couplings=("independent",)),
        channels=space.channels,
        resolution=space.resolution,
        classes=space.classes,
    )


class HalfSpace(ChoiceSpace):
    """The genes of one half; a point decodes into a network.

    Args:
        space: An independent space.
        half: Which half.
        limit: A network that no point may exceed, neither in MACs nor in parameters.

    Raises:
        InvalidRequestError: the half has nothing to choose.
    """

    def __init__(self, space: PairSpace, half: Half, *, limit: NetworkPlan) -> None:
        little = {name for name in space.choices if name.startswith("little")}
        mine = [n for n in space.choices if n != "coupling" and (n in little) == (half == "little")]
        if not mine:
            raise InvalidRequestError(
                f"the {half} half of space {space.definition.name!r} has one choice only; there is nothing to search"
            )
        self._space, self._half, self._mine = space, half, mine
        self._rest = {n: v for n, v in space.extreme("independent", largest=False).items() if n not in mine}
        self._most = macs(limit.layers()), params(limit.layers())
        super().__init__(
            {name: space.choices[name] for name in mine},
            canonical=self._folded,
            feasible=self._within,
        )

    def plan(self, point: Mapping[str, Any]) -> NetworkPlan:
        """Return the network that `point` stands for."""
        network: NetworkPlan = getattr(self._space.plan(self._whole(point)), self._half)
        return network

    def _folded(self, point: Point) -> dict[str, Any]:
        folded = self._space.fold(self._whole(point))
        return {name: folded[name] for name in self._mine}

    def _whole(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._rest, **point}

    def _within(self, point: Point) -> bool:
        layers = self.plan(point).layers()
        return macs(layers) <= self._most[0] and params(layers) <= self._most[1]


def narrowed(space: PairSpace, limits: Mapping[Half, NetworkPlan]) -> PairSpace:
    """Return an independent space without the choices that no network within the limits can take.

    A supernet of it spends no step on networks that the search could not choose.
    """
    kept: dict[str, tuple[Any, ...]] = {}
    for half, limit in limits.items():
        mine = HalfSpace(space, half, limit=limit)
        smallest = {name: values[0] for name, values in mine.choices.items()}
        for name, values in mine.choices.items():
            kept[name] = tuple(v for v in values if mine.is_feasible({**smallest, name: v})) or values[:1]
    definition, old = space.definition, space.definition.stem_widths
    stems = {*kept.get("stem_width", old), *kept.get("little_stem_width", old)}
    narrow = replace(
        definition,
        stem_widths=tuple(sorted(stems)),
        stem_depths=kept.get("stem_depth", definition.stem_depths),
        little=tuple(_stage(stage, f"little{i}", kept) for i, stage in enumerate(definition.little)),
        big=tuple(_stage(stage, f"big{i}", kept) for i, stage in enumerate(definition.big)),
    )
    return PairSpace(narrow, channels=space.channels, resolution=space.resolution, classes=space.classes)


def _stage(stage: StageChoices, prefix: str, kept: Mapping[str, tuple[Any, ...]]) -> StageChoices:
    return replace(
        stage,
        **{
            f"{name}s": kept.get(f"{prefix}_{name}", getattr(stage, f"{name}s"))
            for name in ("width", "depth", "kernel", "kind", "expansion")
        },
    )


def search_half(
    space: HalfSpace,
    score: Score,
    *,
    evaluations: int,
    seed: int,
    make_searcher: MakeSearcher,
    searcher: str = SEARCHER,
) -> NetworkPlan:
    """Return the network of least error that `searcher` finds in `evaluations`; the cheapest of equals.

    Args:
        space: Of one half.
        score: The error of a network, in percent.
        evaluations: Networks to score.
        seed: Of the searcher.
        make_searcher: `nas_service.search.make_searcher`, handed in since workers take nothing but values from there.
        searcher: Its name for the searcher.

    Raises:
        InvalidRequestError: no network of the space meets the limit.
    """
    search = make_searcher(searcher, space, objectives=("error",), seed=seed, budget=evaluations)
    found: list[tuple[float, int, NetworkPlan]] = []
    while len(found) < evaluations and (asked := search.ask(1)):
        plan = space.plan(asked[0])
        error = score(plan)
        found.append((error, macs(plan.layers()), plan))
        search.tell([(asked[0], {"error": error})])
    if not found:
        raise InvalidRequestError(
            "no network of the space is within the MACs and parameters of the pair's half; choose a larger pair or a "
            "space with smaller networks"
        )
    return min(found, key=lambda entry: entry[:2])[2]


def half_error(supernet: Supernet, plan: NetworkPlan, half: Half, context: EvaluationContext) -> float:
    """Return the error, in percent of the context's images, of one half with the supernet's weights, run alone."""
    space = supernet.space
    smallest = space.plan(space.extreme("independent", largest=False))
    pair = supernet.extract(replace(smallest, little=plan) if half == "little" else replace(smallest, big=plan))
    net = pair.little if half == "little" else pair.big
    recalibrate(net, context.recalibration)
    folded = fold(net)
    with torch.inference_mode():
        predicted: list[Tensor] = [folded(batch).argmax(1).cpu() for batch in context.batches]
    return 100 * float((torch.cat(predicted) != torch.from_numpy(context.labels)).double().mean())
