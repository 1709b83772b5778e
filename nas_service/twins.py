"""Twins: one measurement in twenty is made again, by another board of its class, to learn how far boards agree.

A twin has a key of its own, so that nothing that looks up the original's figure ever finds the twin's.
"""

from __future__ import annotations

from edge_agent.records import stable_hash

TWIN_ONE_IN = 20
TWIN_PRIORITY = -(2**31)  # below everything that a job can ask with
TWINS_WAITING_LIMIT = 50  # in a class, so that twins whose second board never comes do not pile up


def twin_key(measurement_key: str) -> str:
    """Return the measurement key of a measurement's twin."""
    return stable_hash({"twin_of": measurement_key})


def is_twinned(measurement_key: str) -> bool:
    """Return whether a measurement is to be made again by another board: one in twenty, always the same ones."""
    return int(twin_key(measurement_key), 16) % TWIN_ONE_IN == 0
