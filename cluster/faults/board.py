"""`python -m cluster.faults.board HOME`: a real agent in a process of its own, whose measurements take a moment only.

All of the agent runs: lock, connection, mailbox, cache, spool, acknowledgements. In place of timing a model it answers
with a figure that follows from the measurement's key, so that a figure under the wrong key is noticed. Every answer
and its lease are noted in HOME/made.log. Its clock is ahead by the seconds in HOME/ahead_s, which may change any time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent import agent
from edge_agent.errors import EdgeError
from edge_agent.home import Home
from edge_agent.lifetime import StopSignal, only_agent
from edge_agent.records import Latency, Lease, Result

WINDOW_S = 0.05


def figure_ms(measurement_key: str) -> float:
    """Return the latency that every board measures for a key."""
    return 1.0 + int(measurement_key[:8], 16) / 2**32


def run_board(path: Path) -> None:
    """Serve measurements until SIGTERM; the agent's own errors pass."""
    home = Home.at(path)
    config = home.config()
    home.create()
    _shift_clock(path / "ahead_s")
    _measure_at_once(path / "made.log")
    stop = StopSignal()
    with only_agent(home) as incarnation, stop.listen():
        agent.Agent(home, config=config, incarnation=incarnation, stop=stop).run()


def _shift_clock(path: Path) -> None:
    true_time: Callable[[], float] = time.time

    def shifted() -> float:
        with contextlib.suppress(OSError, ValueError):
            return true_time() + float(path.read_text())
        return true_time()

    time.time = shifted


def _measure_at_once(made: Path) -> None:
    def measure(
        identity: Result,
        *,
        lease: Lease,
        model: Path,
        place: object,
        stop: StopSignal,
        give_up_at: float,
        beat: Callable[[float | None], None],
        cooling: object = None,
    ) -> Result:
        """Answer a lease as `edge_agent.work.measure_lease` does, whose arguments these are."""
        beat(WINDOW_S)
        stop.wait(WINDOW_S)
        result = dataclasses.replace(
            identity, status="ok", fault=None, cause=None, latency=_latency(lease), finished_unix_s=time.time()
        )
        with contextlib.suppress(OSError), made.open("a") as log:
            log.write(f"{result.result_id} {result.lease_id}\n")
        return result

    agent.measure_lease = measure  # type: ignore[attr-defined]


def _latency(lease: Lease) -> Latency:
    ms = figure_ms(lease.measurement_key)
    return Latency(
        n=64,
        duration_s=WINDOW_S,
        mean_ms=ms,
        median_ms=ms,
        min_ms=ms,
        max_ms=ms,
        cv=0.0,
        mean_ci95_low_ms=ms,
        mean_ci95_high_ms=ms,
        warmup_n=10,
        cold_start_ms=ms,
    )


def main() -> int:
    """Run one board; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.faults.board")
    parser.add_argument("home", type=Path)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        run_board(parser.parse_args().home)
    except (EdgeError, OSError) as error:
        print(f"board: {error}", file=sys.stderr)
        return 1
    finally:
        sys.stderr.flush()
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
