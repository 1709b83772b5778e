"""A real agent whose tiers are short: `python -m tests.cluster.quick_board run --local --home DIR`."""

from __future__ import annotations

import dataclasses
import sys

from edge_agent import tiers
from edge_agent.cli import main

tiers.TIERS["final"] = dataclasses.replace(
    tiers.TIERS["final"],
    processes=2,
    min_n=200,
    min_window_s=0.4,
    max_window_s=0.4,
    ci_fraction=None,
    max_drift_fraction=None,
    min_warmup_s=0.1,
    steady_fraction=None,
    replay_s=0.1,
)
# The sentinel's module, which takes this name, is loaded by the command and hence later.
tiers.SENTINEL_PLAN = dataclasses.replace(
    tiers.SENTINEL_PLAN, min_window_s=0.3, max_window_s=0.6, min_warmup_s=0.1, max_warmup_s=0.5
)

if __name__ == "__main__":
    sys.exit(main())
