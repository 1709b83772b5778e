"""Whether any pair of a space meets its constraints, found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan

if TYPE_CHECKING:
    from nas_service.pair_space import PairSpace

Costs = dict[str, float]


def analytic_costs(plan: PairPlan) -> Costs:
    """Return a plan's costs by constraint name; `macs` is the least that a threshold can spend, the little alone."""
    return {**plan.costs(), "macs": float(plan.little_macs)}


def check_feasible(space: PairSpace) -> None:
    """Raise InvalidRequestError if no pair of `space` meets its constraints: which one, and the nearest feasible value.

    Of triangular pairs, those are looked at that no change of one gene makes cheaper.
    """
    if not space.constraints:
        return
    points = list(smallest(space))
    costs = [analytic_costs(space.plan(point)) for point in points]
    if _any_meets(space, costs):
        return
    points += [p for point in points if point["coupling"] == "triangular" for p in _cheapened(space, point)]
    costs = [analytic_costs(space.plan(point)) for point in points]
    for name, bound in space.constraints.items():
        best = min(range(len(costs)), key=lambda i: costs[i][name])
        if costs[best][name] > bound:
            raise InvalidRequestError(
                f"constraint {name} <= {bound:g}: no pair of space {space.definition.name!r} meets it; "
                f"the smallest has {costs[best][name]:g} (coupling {points[best]['coupling']}). "
                "Raise the bound to at least that"
            )
    if not _any_meets(space, costs):
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in space.constraints.items())
        raise InvalidRequestError(
            f"no pair of space {space.definition.name!r} meets {bounds} together; relax one of them"
        )


def _any_meets(space: PairSpace, costs: list[Costs]) -> bool:
    return any(all(c[name] <= bound for name, bound in space.constraints.items()) for c in costs)


def smallest(space: PairSpace) -> Iterator[dict[str, Any]]:
    """Yield the pair with the smallest genes for every combination of coupling and stage kinds.

    Costs grow in all other genes, except that a triangular pair may cost less with a wider or deeper little.
    """
    kinds = {n: v for n, v in space.choices.items() if n == "coupling" or n.endswith("_kind")}
    base = {name: values[0] for name, values in space.choices.items()}
    points = {}
    for combination in product(*kinds.values()):
        key, point = space.resolve({**base, **dict(zip(kinds, combination, strict=True))})
        points[key] = point
    yield from points.values()


def _cheapened(space: PairSpace, point: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what becomes of `point` when each bounded cost is lowered gene by gene, and when the worst of them is."""
    bounds = space.constraints
    goals: list[Callable[[Costs], float]] = [lambda costs, name=name: costs[name] for name in bounds]  # type: ignore[misc]
    goals.append(lambda costs: max(costs[name] / bound if bound else costs[name] for name, bound in bounds.items()))
    for goal in goals:
        yield _descend(space, point, lambda p, goal=goal: goal(analytic_costs(space.plan(p))))  # type: ignore[misc]


def _descend(space: PairSpace, point: dict[str, Any], cost: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    best = cost(point)
    while True:
        near = [space.fold(p) for p in space.neighbours(point) if p["coupling"] == point["coupling"]]
        value, index = min((cost(p), i) for i, p in enumerate(near))
        if value >= best:
            return point
        best, point = value, near[index]
