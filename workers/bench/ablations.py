"""`ours` with one thing changed, to see what that thing is worth (EVALUATION protocol, section 3, B4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workers.bench.fixed_pair import TERMS, FixedPair, co_trained
from workers.bench.system import Setting
from workers.cotraining.terms import CoTraining


def without_distillation(setting: Setting) -> FixedPair:
    """Return `ours` whose little learns from labels alone."""
    return _changed(setting, little_distillation=0.0)


def with_averaged_teacher(setting: Setting) -> FixedPair:
    """Return `ours` whose little learns from a moving average of the pair."""
    return _changed(setting, cotraining=replace(TERMS, teacher="average"))


def without_routed_system(setting: Setting) -> FixedPair:
    """Return `ours` without a router beside it and without the likelihood of the routed system."""
    return _changed(setting, cotraining=CoTraining())


def with_cost(setting: Setting) -> FixedPair:
    """Return `ours` that also holds its expected cost at half of the worst case, by dual ascent."""
    return _changed(setting, cotraining=replace(TERMS, cost=1.0))


def _changed(setting: Setting, **changes: Any) -> FixedPair:
    ours = co_trained(setting)
    return FixedPair(setting=replace(ours, config=replace(ours.config, **changes)))
