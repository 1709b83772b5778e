"""The space of pairs: a definition as a value, its genes, their folding, and the decoding into plans.

Every half is a stem followed by stages. The first block of a stage may be of another kind than the rest (a *stage
kind*). Genes that a coupling does not use are folded away, so that they never distinguish candidates; in a nested pair
the little is a slice, so its widths, depths and kernels are folded down to what the big has. In a triangular pair both
halves have the stem, the kernels and the kinds of the big. Channels that the big has beyond the little's are read by
such channels alone, so once a stage has some, all later ones must: stages of equal width come first, are the little's
alone, and the last stage is never one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge_agent.records import stable_hash
from nas_service.block import MIN_CHANNELS, Block
from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError
from nas_service.feasibility import analytic_costs, check_feasible
from nas_service.plan import COUPLINGS, Coupling, NetworkPlan, PairPlan

# Stage kind -> (kind of the first block, kind of the others).
STAGE_KINDS: dict[str, tuple[str, str]] = {
    "separable": ("separable", "separable"),
    "fused": ("conv", "separable"),
    "residual": ("residual", "residual"),
    "inverted": ("inverted", "inverted"),
}
CONSTRAINTS = ("macs", "worst_macs", "params", "weights_kib")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChoices:
    """What one half may choose for one stage; every tuple is in ascending order."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3,)
    kinds: tuple[str, ...] = ("separable",)
    expansions: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "kernels", "kinds", "expansions"):
            values = getattr(self, name)
            if not values or (name != "kinds" and list(values) != sorted(set(values))):
                raise InvalidRequestError(
                    f"stage {name} are {values} but must be ascending, without repeats, at least one"
                )
        if self.widths[0] < MIN_CHANNELS or self.depths[0] < 1:
            raise InvalidRequestError(
                f"stage widths {self.widths} must be at least {MIN_CHANNELS} and depths {self.depths} at least 1"
            )
        if unknown := set(self.kinds) - set(STAGE_KINDS):
            raise InvalidRequestError(
                f"unknown stage kind {sorted(unknown)[0]!r}; choose one of: {', '.join(STAGE_KINDS)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceDefinition:
    """A space of pairs, as a value that hashes.

    Attributes:
        name: Preset name or the user's own.
        stem_widths: Output channels of the first convolution.
        stem_stride: Its stride.
        stem_depths: How many blocks the big's stem has; a `stem` pair shares all of them.
        strides: Stride of each stage's first block.
        little: The little's choices for each stage.
        big: The big's choices for each stage.
        couplings: The couplings to choose from.
        wiring: `package.module:object`, the table that joins block kinds to modules; only `workers` resolves it.
    """

    name: str
    stem_widths: tuple[int, ...]
    stem_stride: int
    stem_depths: tuple[int, ...] = (1,)
    strides: tuple[int, ...]
    little: tuple[StageChoices, ...]
    big: tuple[StageChoices, ...]
    couplings: tuple[Coupling, ...] = ("independent", "stem", "nested")
    wiring: str = "workers.wiring:WIRINGS"

    def __post_init__(self) -> None:
        if not len(self.strides) == len(self.little) == len(self.big) >= 1:
            raise InvalidRequestError(
                f"space {self.name!r} has {len(self.strides)} strides, {len(self.little)} little and "
                f"{len(self.big)} big stages; give as many of each"
            )
        if unknown := [c for c in self.couplings if c not in COUPLINGS]:
            raise InvalidRequestError(f"unknown coupling {unknown[0]!r}; choose from: {', '.join(COUPLINGS)}")
        if not self.couplings:
            raise InvalidRequestError(f"space {self.name!r} has no coupling; choose from: {', '.join(COUPLINGS)}")
        if "nested" in self.couplings:
            self._check_slices("nested", ("widths", "depths", "kernels"), less=0)
        if "triangular" in self.couplings:
            self._check_slices("triangular", ("widths",), less=MIN_CHANNELS)
            self._check_slices("triangular", ("depths", "expansions"), less=0)

    def _check_slices(self, coupling: str, names: Sequence[str], *, less: int) -> None:
        """Raise InvalidRequestError unless the little can always be smaller than the big, by `less` at least."""
        for stage, (little, big) in enumerate(zip(self.little, self.big, strict=True)):
            for name in names:
                if getattr(little, name)[0] > getattr(big, name)[0] - less:
                    raise InvalidRequestError(
                        f"stage {stage}: the little's smallest {name[:-1]} {getattr(little, name)[0]} exceeds the "
                        f"big's {getattr(big, name)[0]}{f' less {less}' if less else ''}, so no {coupling} pair "
                        f"exists; lower it or leave `{coupling}` out"
                    )

    def hash(self) -> str:
        """Return a hash of everything that shapes the supernet: a checkpoint of another space is refused by it."""
        return stable_hash(asdict(self))


def _genes(definition: SpaceDefinition) -> dict[str, list[Any]]:
    genes: dict[str, list[Any]] = {
        "coupling": list(definition.couplings),
        "stem_width": list(definition.stem_widths),
        "stem_depth": list(definition.stem_depths),
        "little_stem_width": list(definition.stem_widths),
    }
    for half in ("little", "big"):
        for index, stage in enumerate(getattr(definition, half)):
            for name in ("width", "depth", "kernel", "kind", "expansion"):
                genes[f"{half}{index}_{name}"] = list(getattr(stage, f"{name}s"))
    return {name: values for name, values in genes.items() if len(values) > 1 or name == "coupling"}


class PairSpace(ChoiceSpace):
    """A choice space whose points decode into pair plans, for one data set's shape and one set of constraints.

    Args:
        definition: The space.
        channels: Channels of the data set's images.
        resolution: Side of its square images, in pixels.
        classes: Number of classes.
        constraints: Upper bounds on analytic costs (`macs`, `worst_macs`, `params`, `weights_kib`); others are ignored.

    Raises:
        InvalidRequestError: if the images are too small for the strides.
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
        reduction = definition.stem_stride
        for stride in definition.strides:
            reduction *= stride
        if resolution < reduction:
            raise InvalidRequestError(
                f"images of {resolution}x{resolution} are too small for space {definition.name!r}, which divides the "
                f"resolution by {reduction}; use larger images or a smaller preset"
            )
        super().__init__(_genes(definition), canonical=self._fold_genes, feasible=self._meets_constraints)

    def _value(self, point: Mapping[str, Any], name: str) -> Any:
        """Return a gene's value, also of genes with a single choice, which are not searched."""
        if name in point:
            return point[name]
        if name in ("stem_width", "little_stem_width"):
            return self.definition.stem_widths[0]
        if name == "stem_depth":
            return self.definition.stem_depths[0]
        half, rest = ("little", name[6:]) if name.startswith("little") else ("big", name[3:])
        index, attribute = rest.split("_", 1)
        return getattr(getattr(self.definition, half)[int(index)], f"{attribute}s")[0]

    def _fold_genes(self, point: dict[str, Any]) -> dict[str, Any]:
        folded = dict(point)
        coupling = point["coupling"]
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
                if kind != "inverted":
                    self._set(folded, f"{half}{index}_expansion", choices.expansions[0])
        return folded

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
            kinds = STAGE_KINDS[self._value(point, f"{bank}{index}_kind")]
            for position in range(depth):
                blocks.append(
                    Block(
                        kind=kinds[min(position, 1)],
                        in_channels=blocks[-1].out_channels,
                        out_channels=width,
                        kernel=kernel,
                        stride=stride if position == 0 else 1,
                        expansion=expansion,
                        bank=bank,
                        slot=f"stage{index}.{position}",
                        norm=norm,
                    )
                )
        return NetworkPlan(
            channels=self.channels, resolution=self.resolution, blocks=tuple(blocks), classes=self.classes, head=norm
        )

    def _meets_constraints(self, point: Mapping[str, Any]) -> bool:
        if not self.constraints:
            return True
        costs = analytic_costs(self.plan(point))
        return all(costs[name] <= bound for name, bound in self.constraints.items())

    def extreme(self, coupling: Coupling, *, largest: bool) -> dict[str, Any]:
        """Return the largest or smallest pair of `coupling`; of a gene of kinds, the last or first."""
        index = -1 if largest else 0
        point = {name: values[index] for name, values in self.choices.items()}
        return self.fold({**point, "coupling": coupling})

    def check_constraints(self) -> None:
        """Raise InvalidRequestError if no pair meets the constraints: which one, and the nearest feasible value."""
        check_feasible(self)
