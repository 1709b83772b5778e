"""bundle.json: the files of a deployable pair, what they are fed, and how they may be operated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.wire.operating_point import OperatingPoint
from edge_agent.wire.record import Record, RecordError, check_sha256, check_version

BUNDLE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile(Record):
    """A file of a bundle: its name in the bundle, SHA-256 and size."""

    name: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if "/" in self.name or "\\" in self.name or self.name.startswith("."):
            raise RecordError(f"bundle file is {self.name!r} but must be a plain file name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """One precision of a bundle (fp32 or int8): its two graphs, parity inputs, and its own thresholds."""

    precision: Literal["fp32", "int8"]
    little: str
    big: str
    parity: str
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec(Record):
    """What the runtime feeds: float32 (1, C, H, W), `(uint8 / 255 - mean) / std` by channel, of a (H, W, C) image."""

    channels: int
    height: int
    width: int
    layout: Literal["NCHW"] = "NCHW"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std, default=0.0) <= 0:
            raise RecordError(f"mean {self.mean} and std {self.std} must have {self.channels} values, std above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """bundle.json: everything a board must know to run one candidate, and where it came from."""

    version: int = BUNDLE_VERSION
    candidate: str
    classes: tuple[str, ...]
    input: InputSpec
    coupling: Literal["independent", "stem", "nested", "triangular"]
    router: Literal["msp", "margin", "entropy", "learned"]
    files: tuple[BundleFile, ...]
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    default_precision: Literal["fp32", "int8"] = "fp32"
    variants: tuple[Variant, ...]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        check_version(self.version, BUNDLE_VERSION, "bundle")
        names = {f.name for f in self.files}
        for variant in self.variants:
            if missing := {variant.little, variant.big, variant.parity} - names:
                raise RecordError(
                    f"bundle variant {variant.precision} names files that `files` lacks: {sorted(missing)}"
                )
        precisions = [variant.precision for variant in self.variants]
        if self.variants and self.default_precision not in precisions:
            raise RecordError(
                f"default_precision is {self.default_precision!r} but must be one of: {', '.join(precisions)}"
            )
        points = [p.name for p in self.operating_points]
        if self.default_operating_point not in points:
            raise RecordError(
                f"default_operating_point is {self.default_operating_point!r} but must be one of: {', '.join(points)}"
            )
