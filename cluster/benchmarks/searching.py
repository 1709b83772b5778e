"""S1, S2 and S4: how much of the front a search finds in so many evaluations, and what its own thinking costs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track

from cluster.benchmarks import peers
from cluster.benchmarks.peers import PEERS
from cluster.benchmarks.row import Row
from cluster.benchmarks.table import TABLES, SearchTable
from edge_agent.records import stable_hash
from nas_service.choice_space import ChoiceSpace, Point
from nas_service.front import Floats
from nas_service.search import make_searcher
from nas_service.search.fitness import representative

OURS = "auto"
SEEDS = 10
BATCH = 5
MOMENTS = (50, 100, 200)
TRIES = 2 * MOMENTS[-1]  # of a peer: what it proposes again is answered again, at no charge, up to here
PACKAGES = ("optuna", "nevergrad", "pymoo")
KEY_PARTS = 5
TIMED = ("auto", "linas", "nsga2", "evolution")
TIMED_RESULTS = 1000
TIMED_ASKS = 5
MEMORY = Path("build/bench-peers.jsonl")  # peers' runs, so that an interrupted benchmark goes on

Regrets = tuple[float, ...]
"""One for each of MOMENTS."""
Key: TypeAlias = tuple[Any, ...]
"""Peer, table, its whole hypervolume, edition, seed."""


def hundred() -> list[Row]:
    """S1: hypervolume regret after 100 evaluations, over the best peer's, on the table where that is worst."""
    return _rows("S1", (100,), must=0.8, aim=0.5)


def fifty_and_two_hundred() -> list[Row]:
    """S2: the same after 50 and after 200 evaluations."""
    return _rows("S2", (50, 200), must=0.9, aim=0.5)


def own_time() -> list[Row]:
    """S4: seconds for an ask of 8 with 1,000 results in; a result arrives before every ask."""
    spaces = {
        "15,625 cells": ChoiceSpace({f"b{i}": [0, 1, 2, 3, 4] for i in range(6)}),
        "4^20 points": ChoiceSpace({f"b{i}": [0, 1, 2, 3] for i in range(20)}),
    }
    rows = []
    for name in track(TIMED, description="asks", console=Console(stderr=True)):
        times = {label: _seconds_per_ask(name, space) for label, space in spaces.items()}
        detail = ", ".join(f"{label}: {seconds:.3f} s" for label, seconds in times.items())
        figure = f"seconds per ask of 8, {TIMED_RESULTS} results in, {name}"
        rows.append(Row(name="S4", figure=figure, value=max(times.values()), must=1.0, aim=0.2, detail=detail))
    return rows


def _rows(name: str, moments: tuple[int, ...], *, must: float, aim: float) -> list[Row]:
    """One row for each moment; none, with words, where a peer is not installed."""
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        words = f"{name} is left out: it compares with {', '.join(missing)}; pip install 'biglittle-nas[dev]'"
        Console(stderr=True).print(words, markup=False)
        return []
    return [_row(name, moment, must=must, aim=aim) for moment in moments]


def _row(name: str, evaluations: int, *, must: float, aim: float) -> Row:
    moment = MOMENTS.index(evaluations)
    ratios, words = [], []
    for table in TABLES:
        ours, theirs = (
            {label: float(np.mean([run[moment] for run in runs])) for label, runs in side.items()}
            for side in _compared(table)
        )
        best = min(theirs, key=lambda label: theirs[label])
        ratios.append(ours[OURS] / theirs[best])
        others = ", ".join(f"{label} {100 * regret:.3f}" for label, regret in (ours | theirs).items())
        words.append(f"{table} {ratios[-1]:.2f} of {best} ({others} % of the hypervolume missing)")
    detail = f"{SEEDS} seeds, batches of {BATCH}; " + "; ".join(words)
    figure = f"regret after {evaluations} evaluations over the best peer's, worst table"
    return Row(name=name, figure=figure, value=max(ratios), must=must, aim=aim, detail=detail)


@cache
def _compared(name: str) -> tuple[dict[str, list[Regrets]], dict[str, list[Regrets]]]:
    """Our regrets and the peers' on a table, by searcher, one entry for each seed."""
    table, console = TABLES[name](), Console(stderr=True)
    ours = {OURS: [our_regrets(OURS, table, seed) for seed in track(range(SEEDS), f"{name}, {OURS}", console=console)]}
    remembered = _remembered()
    theirs: dict[str, list[Regrets]] = {}
    for peer in PEERS:
        theirs[peer] = []
        for seed in track(range(SEEDS), f"{name}, {peer}", console=console):
            key = (peer, name, f"{table.whole:.17g}", edition(), seed)
            if key not in remembered:
                remembered[key] = peer_regrets(peer, table, seed)
                _remember(key, remembered[key])
            theirs[peer].append(remembered[key])
    return ours, theirs


def our_regrets(name: str, table: SearchTable, seed: int) -> Regrets:
    """The regrets of one of our searchers, told curves."""
    searcher = make_searcher(name, table.space, objectives=table.objectives, seed=seed, budget=MOMENTS[-1])

    def _curves() -> Iterator[Floats]:
        while batch := searcher.ask(BATCH):
            found = [(x, table.curve(table.space.encode(x))) for x in batch]
            searcher.tell([(x, _told(curve, table.objectives)) for x, curve in found])
            yield from (curve for _, curve in found)

    return _regrets(table, _curves())


def peer_regrets(name: str, table: SearchTable, seed: int) -> Regrets:
    """The regrets of a peer, told single points: of a curve, the one that adds most to what it found before."""

    def _curves() -> Iterator[Floats]:
        search = PEERS[name](table.space, len(table.objectives), seed)
        told: dict[tuple[int, ...], Floats] = {}
        front = np.empty((0, len(table.objectives)))
        point = next(search)
        for _ in range(TRIES):
            if tuple(point) not in told:
                curve = table.curve(point)
                told[tuple(point)] = representative(curve, front)
                front = np.vstack([front, curve])
                yield curve
            point = search.send(told[tuple(point)])

    return _regrets(table, _curves())


def _regrets(table: SearchTable, curves: Iterator[Floats]) -> Regrets:
    """The regret at each moment; a search that ends early stays at its last."""
    found: list[Floats] = []
    regrets = []
    for count in MOMENTS:
        while len(found) < count and (curve := next(curves, None)) is not None:
            found.append(curve)
        regrets.append(table.regret(found))
    return tuple(regrets)


def _told(curve: Floats, objectives: Sequence[str]) -> list[dict[str, float]]:
    return [dict(zip(objectives, (float(v) for v in point), strict=True)) for point in curve]


def _seconds_per_ask(name: str, space: ChoiceSpace) -> float:
    rng = np.random.default_rng(0)
    measure = _made_up(space, rng)
    searcher = make_searcher(name, space, objectives=("error", "cost"), seed=0, budget=2 * TIMED_RESULTS)
    points = {space.phenotype(x): x for x in (space.sample(rng) for _ in range(2 * TIMED_RESULTS))}
    searcher.tell([(x, measure(x)) for x in list(points.values())[:TIMED_RESULTS]])
    seconds = []
    for _ in range(TIMED_ASKS):
        start = time.perf_counter()
        batch = searcher.ask(8)
        seconds.append(time.perf_counter() - start)
        searcher.tell([(x, measure(x)) for x in batch])
    return float(np.median(seconds))


def _made_up(space: ChoiceSpace, rng: np.random.Generator) -> Callable[[Point], dict[str, float]]:
    """Two objectives that pull apart, with noise; only the time that a searcher takes is looked at."""
    weights = rng.gamma(1.0, size=(2, len(space.names)))

    def measure(x: Point) -> dict[str, float]:
        size = np.array(space.encode(x))
        error, cost = weights @ size
        return {"error": float(60 * np.exp(-error / 8) + rng.random()), "cost": float(cost)}

    return measure


@cache
def edition() -> str:
    """Return what peers' runs depend on beside table and seed, hashed: how they are used, and their versions."""
    versions = {package: importlib.metadata.version(package) for package in (*PACKAGES, "scikit-learn", "numpy")}
    return stable_hash({"peers": Path(peers.__file__).read_text(), "tries": TRIES, "versions": versions})


def _remembered() -> dict[Key, Regrets]:
    """Return the runs that are kept; rows of another form are of another edition."""
    rows = [json.loads(line) for line in MEMORY.read_text().splitlines()] if MEMORY.is_file() else []
    return {tuple(key): tuple(regrets) for *key, regrets in rows if len(key) == KEY_PARTS}


def _remember(key: Key, regrets: Regrets) -> None:
    MEMORY.parent.mkdir(exist_ok=True)
    with MEMORY.open("a") as file:
        file.write(json.dumps([*key, list(regrets)]) + os.linesep)
