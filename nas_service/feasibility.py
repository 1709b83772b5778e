"""Whether any pair of a space meets its constraints, found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Raise InvalidRequestError if no pair of `space` meets its constraints: which, and the nearest feasible values.

    Of triangular pairs, those are looked at that no change of one gene makes cheaper.
    """
    if not space.constraints:
        return
    points = list(smallest(space))
    costs = [analytic_costs(space.plan(point)) for point in points]
    if _any_meets(space.constraints, costs):
        return
    for point in list(_cheapened(space, points, costs)):
        points.append(point)
        costs.append(analytic_costs(space.plan(point)))
    for name, bound in space.constraints.items():
        best = min(range(len(costs)), key=lambda i: costs[i][name])
        if costs[best][name] > bound:
            raise InvalidRequestError(
                f"constraint {name} <= {bound:g}: no pair of space {space.definition.name!r} meets it; "
                f"the smallest has {costs[best][name]:.12g} (coupling {points[best]['coupling']}). "
                "Raise the bound to at least that"
            )
    if not _any_meets(space.constraints, costs):
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in _conflict(space.constraints, costs).items())
        raise InvalidRequestError(
            f"no pair of space {space.definition.name!r} meets {bounds} together; {_way_out(space.constraints, costs)}"
        )


def _any_meets(bounds: Mapping[str, float], costs: Sequence[Costs]) -> bool:
    return any(all(c[name] <= bound for name, bound in bounds.items()) for c in costs)


def _conflict(bounds: Mapping[str, float], costs: Sequence[Costs]) -> Mapping[str, float]:
    """Return as few of `bounds` as none of `costs` meets together: without any one of them, some would."""
    conflict = bounds
    for name in bounds:
        rest = _without(name, conflict)
        if not _any_meets(rest, costs):
            conflict = rest
    return conflict


def _way_out(bounds: Mapping[str, float], costs: Sequence[Costs]) -> str:
    """Say how far any one bound must be raised if the others stay; where that is not enough, to what all must be."""
    raised = []
    for name in bounds:
        if keeping := [c[name] for c in costs if _any_meets(_without(name, bounds), [c])]:
            raised.append(f"{name} to {min(keeping):.12g}")
    if raised:
        return f"raise {' or '.join(raised)}, and leave the others"
    near = min(costs, key=lambda c: max(c[name] / bound for name, bound in bounds.items()))
    return "raise " + " and ".join(f"{name} to {near[name]:.12g}" for name in bounds if near[name] > bounds[name])


def _without(name: str, bounds: Mapping[str, float]) -> dict[str, float]:
    return {other: bound for other, bound in bounds.items() if other != name}


def smallest(space: PairSpace) -> Iterator[dict[str, Any]]:
    """Yield the pairs with the smallest genes, for every coupling and every combination of stage kinds worth a look.

    Costs grow in all other genes, except that a triangular pair may cost less with a wider or deeper little. What a
    kind adds to them depends on its own stage alone, so a kind that costs no less in any way than another of the same
    stage is left out.
    """
    base = {name: values[0] for name, values in space.choices.items()}
    points = {}
    for coupling in space.definition.couplings:
        kinds = [_useful_kinds(space, {**base, "coupling": coupling}, n) for n in base if n.endswith("_kind")]
        for combination in product(*kinds):
            key, point = space.resolve({**base, "coupling": coupling, **dict(combination)})
            points[key] = point
    yield from points.values()


def _useful_kinds(space: PairSpace, point: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    """Return (`name`, kind) of the kinds of one stage such that none costs at least as much as another in every way."""
    costs: dict[Any, tuple[float, ...]] = {}
    for kind in space.choices[name]:
        ours = tuple(analytic_costs(space.plan({**point, name: kind})).values())
        if not any(_covers(theirs, ours) for theirs in costs.values()):
            costs = {k: theirs for k, theirs in costs.items() if not _covers(ours, theirs)} | {kind: ours}
    return [(name, kind) for kind in costs]


def _covers(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(ours, theirs, strict=True))


def _cheapened(space: PairSpace, points: list[dict[str, Any]], costs: list[Costs]) -> Iterator[dict[str, Any]]:
    """Yield what becomes of triangular `points` when each bounded cost is lowered gene by gene, and the worst of them.

    Each time it is the point where that cost is least already.
    """
    triangular = [(p, c) for p, c in zip(points, costs, strict=True) if p["coupling"] == "triangular"]
    bounds = space.constraints
    goals: list[Callable[[Costs], float]] = [lambda costs, name=name: costs[name] for name in bounds]  # type: ignore[misc]
    if len(bounds) > 1:
        goals.append(lambda costs: max(costs[name] / bound if bound else costs[name] for name, bound in bounds.items()))
    for goal in goals if triangular else ():
        start, _ = min(triangular, key=lambda entry: goal(entry[1]))
        yield _descend(space, start, lambda p, goal=goal: goal(analytic_costs(space.plan(p))))  # type: ignore[misc]


def _descend(space: PairSpace, point: dict[str, Any], cost: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Return what `point` becomes when one gene after the other takes its cheapest value, until none gets cheaper."""
    best, improved = cost(point), True
    while improved:
        improved = False
        for name in (n for n in space.names if n != "coupling"):
            others = {}
            for value in space.choices[name]:
                key, other = space.resolve({**point, name: value})
                others[key] = other
            others.pop(space.phenotype(point))
            for other in others.values():
                if (value := cost(other)) < best:
                    best, point, improved = value, other, True
    return point
