"""pack.json: what a pair that is measured whole is fed, and the operating point that decides its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_agent.wire.bundle import InputSpec
from edge_agent.wire.operating_point import OperatingPoint
from edge_agent.wire.record import Record, RecordError, check_version

PACK_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackHeader(Record):
    """pack.json of a pair pack: the zip of `little.onnx`, `big.onnx` and `stream.npz` that a pair is measured from.

    `operating_point` decides the routes; its calibration promise has the exact share of escalated images.
    """

    version: int = PACK_VERSION
    precision: Literal["fp32", "int8"]
    classes: int
    input: InputSpec
    operating_point: OperatingPoint

    def __post_init__(self) -> None:
        check_version(self.version, PACK_VERSION, "pair pack")
        if self.classes < 2:
            raise RecordError(f"classes is {self.classes} but must be at least 2")
        if not 0 <= self.operating_point.calibration.escalation_rate <= 1:
            raise RecordError(
                f"escalation_rate is {self.operating_point.calibration.escalation_rate} but must be 0 to 1"
            )
