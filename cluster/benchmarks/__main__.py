"""`python -m cluster.benchmarks [NAME...]`: run benchmarks and print their table, or JSON."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster.benchmarks.agent import idle
from cluster.benchmarks.boards import latency, screen_overhead, stratified
from cluster.benchmarks.energy import integration
from cluster.benchmarks.frugal import frugality, predictor
from cluster.benchmarks.gateway import fleet_size, pull_speed
from cluster.benchmarks.learning import escalation, evaluation, sandwich_step
from cluster.benchmarks.overlap import occupancy
from cluster.benchmarks.ranking import shared_weights
from cluster.benchmarks.row import Benchmark, Row
from cluster.benchmarks.runtime import overhead
from cluster.benchmarks.searching import fifty_and_two_hundred, hundred, own_time
from cluster.benchmarks.warm import warm_candidates

BENCHMARKS: dict[str, Benchmark] = {
    "L5": escalation,
    "L8": sandwich_step,
    "L7": shared_weights,
    "L9": evaluation,
    "S1": hundred,
    "S2": fifty_and_two_hundred,
    "S3": occupancy,
    "S4": own_time,
    "S5": frugality,
    "S6": predictor,
    "S8": warm_candidates,
    "E1": latency,
    "E2": screen_overhead,
    "E3": stratified,
    "E4": integration,
    "E5": fleet_size,
    "E8": idle,
    "E9": overhead,
    "E10": pull_speed,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(names: tuple[str, ...], as_json: bool) -> None:
    """Run the benchmarks NAMES, by default all of them; figures are ratios measured in this run."""
    console = Console(stderr=True)
    chosen = names or tuple(BENCHMARKS)
    rows = [row for name in track(chosen, description="benchmarks", console=console) for row in BENCHMARKS[name]()]
    if as_json:
        json.dump([row.to_dict() for row in rows], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    Console().print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table("", "figure", "value", "must", "aim", "reached", "how", title="ratios measured in this run")
    for row in rows:
        aim = "" if row.aim is None else f"{row.aim:g}"
        table.add_row(row.name, row.figure, f"{row.value:.3f}", f"{row.must:g}", aim, row.verdict, row.detail)
    return table


if __name__ == "__main__":
    main()
