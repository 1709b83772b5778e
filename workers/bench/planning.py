"""What a bench would do and how long it would take, and how far each of its cells is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_service.bench import CellView
from nas_service.errors import InvalidRequestError
from workers.bench.config import BenchConfig
from workers.bench.folder import CellFolder, CellId
from workers.bench.registry import check_system, make_system
from workers.bench.workload import Workload
from workers.protocol.budget import TERA

# MACs per second, backward counted, of one thread of a 2-core x86 machine that trains a pair of 3 M MACs; a bench whose
# cells have trained an epoch goes by what they took.
TYPICAL_RATE = 8e9


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """One cell before it is trained."""

    cell: CellId
    epochs: int
    tera_macs: float
    search_tera_macs: float
    params: int
    macs: tuple[float, ...]


def cells_of(config: BenchConfig) -> tuple[CellId, ...]:
    """Return the cells of a bench, seed by seed, so that an early stop leaves whole comparisons."""
    return tuple(CellId(system=system, seed=seed) for seed in config.seeds for system in config.systems)


def plan_cells(workload: Workload) -> tuple[CellPlan, ...]:
    """Return the plans of all cells; InvalidRequestError for a system that cannot be made."""
    for system in workload.config.systems:
        check_system(system)
    return tuple(_plan(workload, cell) for cell in cells_of(workload.config))


def _plan(workload: Workload, cell: CellId) -> CellPlan:
    try:
        system = make_system(workload.setting(cell))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"system {cell.system!r}: {error}; or leave it out of --systems") from None
    budget, costs = system.budget(), system.costs()
    return CellPlan(
        cell=cell,
        epochs=sum(phase.config.epochs for phase in system.phases()),
        tera_macs=budget.tera_macs,
        search_tera_macs=budget.search_tera_macs,
        params=costs.params,
        macs=costs.macs,
    )


def view_cells(root: Path, plans: Sequence[CellPlan], *, running: frozenset[CellId]) -> tuple[CellView, ...]:
    """Return where every cell is, from the files."""
    logs = {plan.cell: CellFolder(root, plan.cell).log() for plan in plans}
    done = {cell: (len(lines), sum(line["seconds"] for line in lines)) for cell, lines in logs.items()}
    measured = [
        (plan.tera_macs * done[plan.cell][0] / plan.epochs, done[plan.cell][1]) for plan in plans if done[plan.cell][0]
    ]
    rate = sum(macs for macs, _ in measured) * TERA / sum(s for _, s in measured) if measured else TYPICAL_RATE
    return tuple(_view(root, plan, done[plan.cell][0], rate=rate, running=plan.cell in running) for plan in plans)


def _view(root: Path, plan: CellPlan, epoch: int, *, rate: float, running: bool) -> CellView:
    folder = CellFolder(root, plan.cell)
    failure = folder.path / "failure.txt"
    state = "running" if running else "done" if folder.done else "failed" if failure.exists() else "waiting"
    left = None if state in ("done", "failed") else plan.tera_macs * TERA / rate / 3600 * (1 - epoch / plan.epochs)
    return CellView(
        name=str(plan.cell),
        state=state,
        epoch=epoch,
        epochs=plan.epochs,
        tera_macs=plan.tera_macs,
        hours_left=left,
        detail=failure.read_text().splitlines()[0] if state == "failed" else "",
    )
