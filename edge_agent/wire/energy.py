"""What a real sensor said of a timed window, or why it said nothing."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

from edge_agent.wire.ranges import check_not_negative, check_positive, check_share
from edge_agent.wire.record import CAUSE_LIMIT, Record, RecordError, shortened

EnergyScope = Literal["package", "module", "board_input", "wall"]
SensorFaultKind = Literal["vanished", "forbidden", "not_a_number", "implausible", "failing", "stalled", "uncovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(Record):
    """How a sensor's power becomes true power: `gain` times it plus `offset_mw`, fitted against `reference`.

    `rmse_fraction` is the fit's error as a share of the power; `date` is the day of the fit, YYYY-MM-DD.
    """

    gain: float = 1.0
    offset_mw: float = 0.0
    rmse_fraction: float
    reference: str
    date: str

    def __post_init__(self) -> None:
        if not self.gain > 0 or not 0 <= self.rmse_fraction < 1:
            raise RecordError(
                f"gain is {self.gain} and rmse_fraction {self.rmse_fraction} but must be above 0 and 0 to 1"
            )
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError:
            raise RecordError(f"date is {self.date!r} but must be a day such as 2026-01-31") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy(Record):
    """Energy of the timed window from a real sensor; a result without a sensor has no Energy at all.

    `gross_mj` and `net_mj` (idle subtracted) are per inference, after `calibration` where there is one; `rail` is what
    was read. Class a: external and calibrated to 2 %; b: calibrated to 5 %; c: as the sensor says. `sampling_u95` is
    the share by which sampling alone may have missed the mean power at 95 %; None for counters, which miss nothing.
    """

    source: str
    scope: EnergyScope
    gross_mj: float
    net_mj: float | None = None
    mean_power_mw: float
    idle_power_mw: float | None = None
    samples: int
    coverage: float
    uncertainty_class: Literal["a", "b", "c"] = "c"
    rail: str | None = None
    calibration: Calibration | None = None
    sampling_u95: float | None = None
    max_gap_s: float | None = None

    def __post_init__(self) -> None:
        check_positive(self, "gross_mj", "mean_power_mw")
        check_not_negative(self, "samples", "sampling_u95", "max_gap_s")
        check_share(self, "coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFault(Record):
    """Why a result has no energy although the board has a sensor."""

    source: str
    kind: SensorFaultKind
    cause: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", shortened(self.cause, CAUSE_LIMIT))
