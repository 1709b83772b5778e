"""How the layers of a block are joined, by kind of block.

A wiring is given one callable per layer record of `nas_service.block.unfold`, in the same order, and the block's input.
Convolution units map a tensor to a tensor (convolution, BatchNorm, ReLU where the record says so); an `add` unit maps
two tensors to their sum (and ReLU), a `pool` unit a tensor to its means (N, C, 1, 1), and a `scale` unit a tensor and
a gate (N, C, 1, 1) to their product, the gate under a hard sigmoid. The plain network and the supernet share these
functions; in a triangular pair they join parts of tensors, so a wiring does nothing to a tensor but hand it to units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from nas_service.errors import InvalidRequestError
from nas_service.import_path import imported

Unit = Callable[..., Tensor]
Wiring = Callable[[Sequence[Unit], Tensor], Tensor]


def chain(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Run one unit after the other."""
    for unit in units:
        x = unit(x)
    return x


def residual(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Two convolutions beside a shortcut, which is projected if there is a third convolution."""
    first, second, *projection, add = units
    shortcut = projection[0](x) if projection else x
    return add(second(first(x)), shortcut)


def separable(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Filter, mix; the input is added if there is an `add` unit."""
    depthwise, pointwise, *add = units
    y = pointwise(depthwise(x))
    return add[0](y, x) if add else y


def inverted(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Expand, filter, project; the input is added if there is an `add` unit."""
    expand, depthwise, project, *add = units
    y = project(depthwise(expand(x)))
    return add[0](y, x) if add else y


def gated(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Scale `x` by what pooling, squeezing and exciting make of it."""
    pool, squeeze, excite, scale = units
    return scale(x, excite(squeeze(pool(x))))


def separable_se(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Filter, scale, mix; the input is added if there is an `add` unit."""
    depthwise, pointwise, *add = (units[0], *units[5:])
    y = pointwise(gated(units[1:5], depthwise(x)))
    return add[0](y, x) if add else y


def inverted_se(units: Sequence[Unit], x: Tensor) -> Tensor:
    """Expand, filter, scale, project; the input is added if there is an `add` unit."""
    expand, depthwise, project, *add = (*units[:2], *units[6:])
    y = project(gated(units[2:6], depthwise(expand(x))))
    return add[0](y, x) if add else y


WIRINGS: dict[str, Wiring] = {
    "conv": chain,
    "separable": separable,
    "separable_se": separable_se,
    "residual": residual,
    "inverted": inverted,
    "inverted_se": inverted_se,
}


def resolve(wiring: str) -> Mapping[str, Wiring]:
    """Return the table at `package.module:object`; InvalidRequestError if there is none."""
    table = imported(wiring, what=f"wiring {wiring!r}", hint="give package.module:object that workers can import")
    if not isinstance(table, Mapping):
        raise InvalidRequestError(
            f"wiring {wiring!r} is a {type(table).__name__} but must map block kinds to functions"
        )
    return table


def wiring_for(table: Mapping[str, Wiring], kind: str) -> Wiring:
    """Return the wiring of `kind`; InvalidRequestError if the table lacks it."""
    if kind not in table:
        raise InvalidRequestError(f"block kind {kind!r} has no wiring; add it to the table, which has {sorted(table)}")
    return table[kind]
