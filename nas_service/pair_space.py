"""The space of pairs: a definition as a value, its genes, their folding, and the decoding into plans.

Every half is a stem followed by stages. The first block of a stage may be of another kind than the rest (a *stage
kind*). Genes that a coupling does not use are folded away, so that they never distinguish candidates; in a nested pair
the little is a slice, so its widths, depths and kernels are folded down to what the big has. In a triangular pair both
halves have the stem, the kernels and the kinds of the big. Channels that the big has beyond the little's are read by
such channels alone, so once a stage has some, all later ones must: stages of equal width come first, are the little's
alone, and the last stage is never one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from nas_service.block import MIN_CHANNELS, Block, reads
from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError
from nas_service.feasibility import analytic_costs, check_feasible
from nas_service.plan import RESIZABLE, Coupling, NetworkPlan, PairPlan
from nas_service.space_definition import SpaceDefinition, StageChoices, stage_kinds

__all__ = ["CONSTRAINTS", "PairSpace", "SpaceDefinition", "StageChoices"]

READ_BY_SOME: tuple[Literal["kernel", "expansion"], ...] = ("kernel", "expansion")  # genes that some kinds ignore
CONSTRAINTS = ("macs", "worst_macs", "params", "weights_kib")


def _genes(definition: SpaceDefinition, resolution: int) -> dict[str, list[Any]]:
    genes: dict[str, list[Any]] = {
        "coupling": list(definition.couplings),
        "stem_width": list(definition.stem_widths),
        "stem_depth": list(definition.stem_depths),
        "little_stem_width": list(definition.stem_widths),
        "little_resolution": list(_sides(definition, resolution)),
    }
    for half in ("little", "big"):
        for index, stage in enumerate(getattr(definition, half)):
            for name in ("width", "depth", "kernel", "kind", "expansion"):
                genes[f"{half}{index}_{name}"] = list(getattr(stage, f"{name}s"))
    return {name: values for name, values in genes.items() if len(values) > 1 or name == "coupling"}


def _sides(definition: SpaceDefinition, resolution: int) -> tuple[int, ...]:
    """Return the sides in pixels that the little may run on, in ascending order; the last is the image's own."""
    return tuple(sorted({math.ceil(scale * resolution) for scale in definition.little_scales}))


class PairSpace(ChoiceSpace):
    """A choice space whose points decode into pair plans, for one data set's shape and one set of constraints.

    Args:
        definition: The space.
        channels: Channels of the data set's images.
        resolution: Side of its square images, in pixels.
        classes: Number of classes.
        constraints: Upper bounds on analytic costs (`macs`, `worst_macs`, `params`, `weights_kib`); others are ignored.

    Raises:
        InvalidRequestError: the images are too small for the strides, or the space's own blocks are not to be found.
    """

    def __init__(
        self,
        definition: SpaceDefinition,
        *,
        channels: int,
        resolution: int,
        classes: int,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        self.definition = definition
        self.channels, self.resolution, self.classes = channels, resolution, classes
        self.constraints = {k: v for k, v in (constraints or {}).items() if k in CONSTRAINTS}
        definition.check_kinds()
        if resolution < definition.least_resolution:
            raise InvalidRequestError(
                f"images of {resolution}x{resolution} are too small for space {definition.name!r}, which divides the "
                f"resolution by {definition.reduction} and needs {definition.least_resolution}; use larger images or "
                "a smaller preset"
            )
        super().__init__(_genes(definition, resolution), canonical=self._fold_genes, feasible=self._meets_constraints)

    def _value(self, point: Mapping[str, Any], name: str) -> Any:
        """Return a gene's value, also of genes with a single choice, which are not searched."""
        if name in point:
            return point[name]
        if name in ("stem_width", "little_stem_width"):
            return self.definition.stem_widths[0]
        if name == "stem_depth":
            return self.definition.stem_depths[0]
        if name == "little_resolution":
            return self.resolution
        half, rest = ("little", name[6:]) if name.startswith("little") else ("big", name[3:])
        index, attribute = rest.split("_", 1)
        return getattr(getattr(self.definition, half)[int(index)], f"{attribute}s")[0]

    def _fold_genes(self, point: dict[str, Any]) -> dict[str, Any]:
        folded = dict(point)
        coupling = point["coupling"]
        if coupling not in RESIZABLE:
            self._set(folded, "little_resolution", self.resolution)
        if coupling == "stem":
            self._set(folded, "little_stem_width", self.definition.stem_widths[0])
        if coupling == "nested":
            self._floor(folded, "little_stem_width", self._value(point, "stem_width"), self.definition.stem_widths)
            for index, choices in enumerate(self.definition.little):
                self._set(folded, f"little{index}_kind", choices.kinds[0])
                for name in ("width", "depth", "kernel", "expansion"):
                    bound = self._value(point, f"big{index}_{name}")
                    self._floor(folded, f"little{index}_{name}", bound, getattr(choices, f"{name}s"))
        if coupling == "triangular":
            self._fold_triangular(folded)
        for half in ("little", "big"):
            for index, choices in enumerate(getattr(self.definition, half)):
                sliced = coupling in ("nested", "triangular")
                kind = self._value(point, f"{'big' if sliced else half}{index}_kind")
                for name in READ_BY_SOME:
                    if not self._reads(kind, name):
                        self._set(folded, f"{half}{index}_{name}", getattr(choices, f"{name}s")[0])
        return folded

    def _reads(self, kind: str, name: Literal["kernel", "expansion"]) -> bool:
        """Return whether any block of a stage of `kind` depends on its kernel or expansion."""
        blocks = self.definition.blocks
        return any(reads(block, name, table=blocks) for block in stage_kinds(blocks)[kind])

    def _fold_triangular(self, folded: dict[str, Any]) -> None:
        self._set(folded, "little_stem_width", self.definition.stem_widths[0])
        grown, last = False, len(self.definition.strides) - 1
        for index, (little, big) in enumerate(zip(self.definition.little, self.definition.big, strict=True)):
            width = self._value(folded, f"big{index}_width")
            legal = [w for w in little.widths if w <= width - MIN_CHANNELS]
            if width in little.widths and not grown and index < last:
                legal.append(width)
            self._floor(folded, f"little{index}_width", self._value(folded, f"little{index}_width"), legal)
            grown = grown or self._value(folded, f"little{index}_width") < width
            self._set(folded, f"little{index}_kernel", little.kernels[0])
            self._set(folded, f"little{index}_kind", little.kinds[0])
            for name in ("depth", "expansion"):
                ours, theirs = f"little{index}_{name}", f"big{index}_{name}"
                self._floor(folded, ours, self._value(folded, theirs), getattr(little, f"{name}s"))
                if not grown:  # the stage is the little's alone
                    needed = self._value(folded, ours)
                    self._set(folded, theirs, min(c for c in getattr(big, f"{name}s") if c >= needed))

    @staticmethod
    def _set(point: dict[str, Any], name: str, value: Any) -> None:
        if name in point:
            point[name] = value

    def _floor(self, point: dict[str, Any], name: str, bound: Any, choices: Sequence[Any]) -> None:
        """Set a gene that exceeds `bound`, or is none of `choices`, to its largest choice that is at most `bound`.

        Where there is none, to the smallest.
        """
        if name in point and (point[name] > bound or point[name] not in choices):
            point[name] = max((c for c in choices if c <= bound), default=choices[0])

    def plan(self, point: Mapping[str, Any]) -> PairPlan:
        """Return the pair that `point` stands for; InvalidRequestError if it is no point of this space."""
        folded = self.fold(point)
        coupling: Coupling = folded["coupling"]  # type: ignore[assignment]
        if coupling == "triangular":
            return self._triangular(folded)
        big_stem = self._stem(folded, half="big", bank="big", norm="big")
        big = self._network(folded, half="big", bank="big", norm="big", stem=big_stem)
        if coupling == "stem":
            little = self._network(folded, half="little", bank="little", norm="little", stem=big_stem)
        elif coupling == "nested":
            stem = self._stem(folded, half="little", bank="big", norm="nested")
            little = self._network(folded, half="little", bank="big", norm="nested", stem=stem)
        else:
            stem = self._stem(folded, half="little", bank="little", norm="little")
            little = self._network(folded, half="little", bank="little", norm="little", stem=stem)
        return PairPlan(
            coupling=coupling, little=little, big=big, shared_blocks=len(big_stem) if coupling == "stem" else 0
        )

    def _triangular(self, point: Mapping[str, Any]) -> PairPlan:
        stem = self._stem(point, half="big", bank="big", norm="triangular")
        little = self._network(point, half="little", bank="big", norm="triangular", stem=stem)
        alone = 0  # stages that are the little's alone
        while self._value(point, f"little{alone}_width") == self._value(point, f"big{alone}_width"):
            alone += 1
        shared = little.blocks[: len(stem) + sum(self._value(point, f"little{i}_depth") for i in range(alone))]
        big = self._network(point, half="big", bank="big", norm="tail", stem=shared, first=alone)
        return PairPlan(coupling="triangular", little=little, big=big, shared_blocks=len(shared))

    def _stem(self, point: Mapping[str, Any], *, half: str, bank: str, norm: str) -> tuple[Block, ...]:
        width = self._value(point, "stem_width" if half == "big" else "little_stem_width")
        depth = self._value(point, "stem_depth") if half == "big" else 1
        first = Block(
            kind="conv",
            in_channels=self.channels,
            out_channels=width,
            stride=self.definition.stem_stride,
            activation=self.definition.activation,
            bank=bank,
            slot="stem.0",
            norm=norm,
        )
        rest = (
            replace(first, kind="separable", in_channels=width, stride=1, slot=f"stem.{i}") for i in range(1, depth)
        )
        return (first, *rest)

    def _network(
        self,
        point: Mapping[str, Any],
        *,
        half: str,
        bank: str,
        norm: str,
        stem: tuple[Block, ...],
        first: int = 0,
    ) -> NetworkPlan:
        """Return the stem and the stages from `first` on of one half."""
        blocks = list(stem)
        for index, stride in list(enumerate(self.definition.strides))[first:]:
            width, depth, expansion = (
                self._value(point, f"{half}{index}_{name}") for name in ("width", "depth", "expansion")
            )
            kernel = self._value(point, f"{'big' if norm == 'triangular' else half}{index}_kernel")
            kinds = stage_kinds(self.definition.blocks)[self._value(point, f"{bank}{index}_kind")]
            for position in range(depth):
                blocks.append(
                    Block(
                        kind=kinds[min(position, 1)],
                        in_channels=blocks[-1].out_channels,
                        out_channels=width,
                        kernel=kernel,
                        stride=stride if position == 0 else 1,
                        expansion=expansion,
                        activation=self.definition.activation,
                        bank=bank,
                        slot=f"stage{index}.{position}",
                        norm=norm,
                        table=self.definition.blocks,
                    )
                )
        side = self._value(point, "little_resolution") if half == "little" else self.resolution
        return NetworkPlan(
            channels=self.channels,
            resolution=self.resolution,
            resized=None if side == self.resolution else side,
            blocks=tuple(blocks),
            classes=self.classes,
            head=norm,
        )

    def identity(self) -> dict[str, Any]:
        """The definition's hash, the images' shape, and the constraints, by name."""
        return {
            "definition": self.definition.hash(),
            "images": [self.channels, self.resolution, self.classes],
            "constraints": dict(self.constraints),
        }

    def _meets_constraints(self, point: Mapping[str, Any]) -> bool:
        return not self.constraints or self.meets_constraints(self.plan(point))

    def meets_constraints(self, plan: PairPlan) -> bool:
        """Return whether a pair meets the space's constraints."""
        costs = analytic_costs(plan) if self.constraints else {}
        return all(costs[name] <= bound for name, bound in self.constraints.items())

    def extreme(self, coupling: Coupling, *, largest: bool) -> dict[str, Any]:
        """Return the largest or smallest pair of `coupling`; of a gene of kinds, the last or first."""
        index = -1 if largest else 0
        point = {name: values[index] for name, values in self.choices.items()}
        return self.fold({**point, "coupling": coupling})

    def check_constraints(self) -> None:
        """Raise InvalidRequestError if no pair meets the constraints: which one, and the nearest feasible value."""
        check_feasible(self)
