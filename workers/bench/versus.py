"""Ours against independent cascades: hypervolume of whole threshold sweeps, on the same resampled test images.

Seeds are pooled by averaging their differences on each resample, so that the interval holds for the mean of the seeds
that were trained; what other seeds would give shows in the spread between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workers.bench.choices import pair_outputs
from workers.bench.finished import OURS, FinishedCell
from workers.bench.rows import Row, RowMaker
from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.equal_accuracy import cost_difference_interval
from workers.protocol.hypervolume import SweptSystem, common_reference, sweep_hypervolume
from workers.protocol.outcomes import Floats

CASCADE = "cascade"


def versus_rows(cells: Sequence[FinishedCell], *, resamples: Resamples) -> Iterator[Row]:
    """Yield, for each system of ours and each cascade, the difference by seed and over all common seeds."""
    pairs = {(c.cell.system, c.cell.seed): c for c in cells if c.choices.routers}
    systems = sorted({system for system, _ in pairs})
    seeds = sorted({seed for _, seed in pairs})
    for ours in (s for s in systems if s.startswith(OURS)):
        for theirs in (s for s in systems if s.startswith(CASCADE)):
            common = [seed for seed in seeds if (ours, seed) in pairs and (theirs, seed) in pairs]
            if common:
                yield from _versus(
                    f"{ours} - {theirs}",
                    {seed: (swept(pairs[ours, seed]), swept(pairs[theirs, seed])) for seed in common},
                    resamples,
                )


def swept(cell: FinishedCell) -> SweptSystem:
    """Return a pair's sweep under its chosen router."""
    outputs, router = pair_outputs(cell.test), str(cell.choices.router)
    frozen = cell.choices.frozen(router)
    test = outputs.outcomes(cell.choices.test_scores(router, outputs))
    return SweptSystem(sweep=frozen.sweep, test=test, costs=frozen.costs)


def _versus(name: str, by_seed: dict[int, tuple[SweptSystem, SweptSystem]], resamples: Resamples) -> Iterator[Row]:
    both = [system.sweep.apply(system.test, costs=system.costs) for pair in by_seed.values() for system in pair]
    reference = common_reference(both)
    estimates, samples = [], []
    for seed, (ours, theirs) in by_seed.items():
        make = RowMaker(system=name, seed=str(seed))
        volumes = [sweep_hypervolume(system.points(), reference) for system in (ours, theirs)]
        drawn = _volumes(ours, reference, resamples) - _volumes(theirs, reference, resamples)
        estimates.append(volumes[0] - volumes[1])
        samples.append(drawn)
        yield from _rows(make, estimates[-1], drawn)
        yield make.row("cost_at_equal_accuracy", cost_difference_interval(ours, theirs, resamples=resamples))
    pooled = RowMaker(system=name, seed="all")
    yield from _rows(pooled, float(np.mean(estimates)), np.mean(samples, axis=0))
    yield pooled.row("same_sign", float(len({np.sign(value) for value in estimates}) == 1), x=str(len(estimates)))


def _volumes(system: SweptSystem, reference: tuple[float, float], resamples: Resamples) -> Floats:
    return np.array([sweep_hypervolume(points, reference) for points in system.resampled_points(resamples)])


def _rows(make: RowMaker, estimate: float, samples: Floats) -> Iterator[Row]:
    yield make.row("hypervolume_difference", Interval.of(estimate, samples))
    yield make.row("share_better", float((samples > 0).mean()))
