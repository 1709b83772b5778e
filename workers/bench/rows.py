"""Results in tidy form: one measured figure in a row, as `results.csv` holds them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from workers.protocol.bootstrap import Interval
from workers.protocol.report import IsoBehaviour


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        system: The system's name; of a comparison, `first - second`.
        seed: The seed; `all` where seeds are pooled.
        router: The router; empty where none is meant.
        split: Where it was measured: validation, calibration, test, shift or train.
        measure: What.
        x: Where on the measure's axis: a budget in MACs, a tolerated drop in points, a rate, a class; may be empty.
        value: The figure; None if there is none.
        ci_low: Lower end of the 95 % interval; None if there is none.
        ci_high: Upper end.
    """

    system: str
    seed: str
    router: str = ""
    split: str = "test"
    measure: str
    x: str = ""
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None

    @property
    def text(self) -> tuple[str, ...]:
        """The row as CSV has it; what is unknown is empty."""
        return tuple("" if v is None else f"{v:.8g}" if isinstance(v, float) else str(v) for v in astuple(self))


COLUMNS = tuple(field.name for field in fields(Row))
NUMBERS = ("value", "ci_low", "ci_high")


def to_csv(rows: Iterable[Row]) -> str:
    """Return the rows as CSV with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.text for row in rows)
    return buffer.getvalue()


def from_csv(text: str) -> list[Row]:
    """Return the rows that `to_csv` wrote."""
    return [_row(values) for values in csv.DictReader(io.StringIO(text))]


def x_text(value: float) -> str:
    """Return a number as the column `x` holds it."""
    return f"{value:.8g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMaker:
    """Makes rows of one system, seed, router and split."""

    system: str
    seed: str
    router: str = ""
    split: str = "test"

    def on(self, *, router: str | None = None, split: str | None = None) -> RowMaker:
        """Return a maker for another router or split."""
        return replace(self, router=self.router if router is None else router, split=split or self.split)

    def row(self, measure: str, value: float | Interval | None, *, x: str | float = "") -> Row:
        """Return the row of a figure, or of an estimate with its interval."""
        bounds = (value.low, value.high) if isinstance(value, Interval) else (None, None)
        estimate = value.estimate if isinstance(value, Interval) else value
        return Row(
            system=self.system,
            seed=self.seed,
            router=self.router,
            split=self.split,
            measure=measure,
            x=x if isinstance(x, str) else x_text(x),
            value=None if estimate is None else float(estimate),
            ci_low=bounds[0],
            ci_high=bounds[1],
        )


def behaviour_rows(make: RowMaker, behaviour: IsoBehaviour) -> Iterator[Row]:
    """Yield over- and underthinking, classes and difficulties at the thresholds for one tolerated drop."""
    drop = x_text(behaviour.drop_points)
    for name, value in behaviour.thinking.to_dict().items():
        yield make.row(f"{name}_thinking", value, x=drop)
    worst = behaviour.worst_class
    yield make.row("worst_class_drop_points", worst.drop_points, x=f"{drop}:{worst.group}")
    tables = {"class": behaviour.by_class, "difficulty": behaviour.by_difficulty}
    for kind, table in tables.items():
        for group in () if table is None else table.rows:
            at = f"{drop}:{group.group}"
            yield make.row(f"{kind}_accuracy", group.accuracy, x=at)
            yield make.row(f"{kind}_rate", group.rate, x=at)
            yield make.row(f"{kind}_drop_points", group.drop_points, x=at)


def _row(values: Mapping[str, str]) -> Row:
    found: dict[str, Any] = {name: values[name] for name in COLUMNS}
    return Row(**found | {name: float(values[name]) if values[name] else None for name in NUMBERS})


def is_exit(measure: str) -> bool:
    """Return whether a measure is the accuracy at an exit."""
    return measure.startswith("exit") and measure.endswith("_accuracy")
