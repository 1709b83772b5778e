"""How plots look, the same on screen and on paper: colours that colour-blind readers can tell apart, and marks."""

from __future__ import annotations

import math

# Okabe and Ito's palette; the mark tells couplings apart without colour.
COLOURS = {"independent": "#0072B2", "stem": "#E69F00", "nested": "#009E73", "triangular": "#CC79A7"}
PLOTLY_MARKS = {"independent": "circle", "stem": "diamond", "nested": "square", "triangular": "triangle-up"}
PNG_MARKS = {"independent": "o", "stem": "D", "nested": "s", "triangular": "^"}
OTHER_COLOUR = "#56B4E9"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def colour(coupling: str) -> str:
    """Return the colour of a coupling."""
    return COLOURS.get(coupling, OTHER_COLOUR)


def rgba(hex_colour: str, alpha: float) -> str:
    """Return a '#RRGGBB' colour as CSS with an opacity from 0 to 1."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def threshold_text(threshold: float | str) -> str:
    """Return a threshold as people read it."""
    return threshold if isinstance(threshold, str) else f"{threshold:.4f}"


def log_ticks(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times a power of ten between two positive bounds, ascending."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [float(f"{tick:.3g}") for tick in ticks if low <= tick <= high]


def spans_decades(values: list[float]) -> bool:
    """Return whether an axis of these values reads better in logarithms."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 20
