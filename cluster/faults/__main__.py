"""`python -m cluster.faults --seed 0 --results 1000`: injure a fleet on loopback and say what that cost.

Prints one line of JSON; the exit status is 1 if anything was lost, counted twice or mixed up.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import tempfile
from pathlib import Path

from cluster.faults.campaign import Campaign


def main() -> int:
    """Run one campaign; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.faults", description="random faults against a real fleet")
    parser.add_argument("--seed", type=int, default=0, help="which faults, and when (default: %(default)s)")
    parser.add_argument("--results", type=int, default=1000, help="how many measurements (default: %(default)s)")
    parser.add_argument("--boards", type=int, default=4, help="how many boards (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this empty folder and keep it, logs and all")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process of the campaign is left behind
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder = Path(scratch) if options.keep is None else options.keep
        folder.mkdir(parents=True, exist_ok=True)
        outcome = Campaign(folder, results=options.results, seed=options.seed, boards=options.boards).run()
    print(json.dumps(outcome.to_dict()))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
