"""Definitions of spaces: what each half may choose, as a value that hashes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from edge_agent.records import stable_hash
from nas_service.block import BLOCKS, MIN_CHANNELS, block_kinds
from nas_service.errors import InvalidRequestError
from nas_service.layers import ACTIVATIONS, Activation
from nas_service.plan import COUPLINGS, LEAST_SCALE, Coupling

# Stage kind -> (kind of the first block, kind of the others).
STAGE_KINDS: dict[str, tuple[str, str]] = {
    "separable": ("separable", "separable"),
    "fused": ("conv", "separable"),
    "residual": ("residual", "residual"),
    "separable_se": ("separable_se", "separable_se"),
    "inverted": ("inverted", "inverted"),
    "inverted_se": ("inverted_se", "inverted_se"),
}
_LATER_FIELDS = {"activation": "relu", "blocks": None, "little_scales": (1.0,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChoices:
    """What one half may choose for one stage; every tuple is in ascending order, `kinds` in any.

    A stage kind is a key of `STAGE_KINDS`, or one of the user's own kinds of block, of which the whole stage then is.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3,)
    kinds: tuple[str, ...] = ("separable",)
    expansions: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "kernels", "kinds", "expansions"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values) or (name != "kinds" and list(values) != sorted(values)):
                raise InvalidRequestError(
                    f"stage {name} are {values} but must be ascending, without repeats, at least one"
                )
        if self.widths[0] < MIN_CHANNELS or self.depths[0] < 1:
            raise InvalidRequestError(
                f"stage widths {self.widths} must be at least {MIN_CHANNELS} and depths {self.depths} at least 1"
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
        little_scales: What the little may run on, as shares of the image's side in [0.5, 1], the last of them 1; used
            where the little starts from the image by itself, in `independent` and `nested` pairs.
        activation: The function that follows convolutions: ReLU, the cheapest; or the hard swish of MobileNetV3
            (Howard et al., ICCV 2019) or the SiLU (Elfwing et al., 2018), which learn more in small nets.
        blocks: `package.module:object`, a table of the user's own kinds of block: from a `Block` and the side of its
            input to its layer records. It is imported when the space is used, in every process that uses it.
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
    little_scales: tuple[float, ...] = (1.0,)
    activation: Activation = "relu"
    blocks: str | None = None
    wiring: str = "workers.wiring:WIRINGS"

    def __post_init__(self) -> None:
        if not len(self.strides) == len(self.little) == len(self.big) >= 1:
            raise InvalidRequestError(
                f"space {self.name!r} has {len(self.strides)} strides, {len(self.little)} little and "
                f"{len(self.big)} big stages; give as many of each"
            )
        if min(self.stem_stride, *self.strides) < 1 or max(self.stem_stride, *self.strides) > 2:
            raise InvalidRequestError(f"strides are {self.stem_stride} and {self.strides} but must be 1 or 2")
        if list(self.little_scales) != sorted({s for s in self.little_scales if s >= LEAST_SCALE} | {1.0}):
            raise InvalidRequestError(
                f"little_scales are {self.little_scales} but must ascend from {LEAST_SCALE} at least to 1 itself"
            )
        if self.activation not in ACTIVATIONS:
            raise InvalidRequestError(f"activation is {self.activation!r}; choose one of: {', '.join(ACTIVATIONS)}")
        if self.blocks is None:
            self.check_kinds()
        if unknown := [c for c in self.couplings if c not in COUPLINGS]:
            raise InvalidRequestError(f"unknown coupling {unknown[0]!r}; choose from: {', '.join(COUPLINGS)}")
        if not self.couplings:
            raise InvalidRequestError(f"space {self.name!r} has no coupling; choose from: {', '.join(COUPLINGS)}")
        if "nested" in self.couplings:
            self._check_slices("nested", ("widths", "depths", "kernels", "expansions"), less=0)
        if "triangular" in self.couplings:
            self._check_slices("triangular", ("widths",), less=MIN_CHANNELS)
            self._check_slices("triangular", ("depths", "expansions"), less=0)

    def _check_slices(self, coupling: str, names: Sequence[str], *, less: int) -> None:
        """Raise InvalidRequestError unless every big has a little that is smaller, by `less` at least.

        Every point of a space decodes, so the smallest choices must fit.
        """
        for stage, (little, big) in enumerate(zip(self.little, self.big, strict=True)):
            for name in names:
                if getattr(little, name)[0] > getattr(big, name)[0] - less:
                    raise InvalidRequestError(
                        f"stage {stage}: the little's smallest {name[:-1]} {getattr(little, name)[0]} exceeds the "
                        f"big's {getattr(big, name)[0]}{f' less {less}' if less else ''}, so not every big has a "
                        f"{coupling} little; lower it, raise the big's, or leave `{coupling}` out"
                    )

    def stages(self) -> Iterator[StageChoices]:
        """Yield the choices of every stage of both halves."""
        yield from (*self.little, *self.big)

    def check_kinds(self) -> None:
        """Raise InvalidRequestError if a stage kind is in no table."""
        known = stage_kinds(self.blocks)
        for stage in self.stages():
            if unknown := [kind for kind in stage.kinds if kind not in known]:
                raise InvalidRequestError(f"unknown stage kind {unknown[0]!r}; choose one of: {', '.join(known)}")

    @property
    def reduction(self) -> int:
        """What all strides together divide the resolution by."""
        return math.prod((self.stem_stride, *self.strides))

    @property
    def least_resolution(self) -> int:
        """The side of the smallest images that the space takes."""
        return math.ceil(self.reduction / self.little_scales[0])

    def hash(self) -> str:
        """Return a hash of everything that shapes the supernet: a checkpoint of another space is refused by it.

        What a definition does not use is left out, so that checkpoints outlive new kinds of choices.
        """
        unused = {name for name, default in _LATER_FIELDS.items() if getattr(self, name) == default}
        return stable_hash({name: value for name, value in asdict(self).items() if name not in unused})


@lru_cache(maxsize=64)
def stage_kinds(blocks: str | None) -> Mapping[str, tuple[str, str]]:
    """Return (kind of the first block, kind of the others) by stage kind, those of the table at `blocks` included."""
    return {**STAGE_KINDS, **{kind: (kind, kind) for kind in block_kinds(blocks) if kind not in BLOCKS}}
