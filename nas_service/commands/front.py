"""`nas front`: the points of a job worth having, as a table, JSON or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from nas_service.client import Client, Json
from nas_service.commands.console import Cell, Console
from nas_service.commands.context import Context, json_option, pass_context

ABOVE_ZERO = click.FloatRange(0, min_open=True)


@click.command("front")
@click.argument("job")
@click.option("--board", metavar="CLASS", help="Set accuracy against the latency on this board class.")
@click.option("--max-latency-ms", type=ABOVE_ZERO, metavar="X", help="Keep points at most this slow.")
@click.option("--max-energy-mj", type=ABOVE_ZERO, metavar="X", help="Keep points of at most this energy.")
@click.option("--max-memory-kib", type=ABOVE_ZERO, metavar="X", help="Keep points of at most this memory.")
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 1), metavar="X", help="Keep points at least this accurate, 0 to 1."
)
@click.option("--all", "every", is_flag=True, help="Print every point of a long front, not a selection.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout.")
@pass_context
def front_command(context: Context, /, job: str, every: bool, as_json: bool, as_csv: bool, **filters: Any) -> None:
    """Print the points that nothing else beats.

    Each is a candidate at one threshold. A figure that was not measured is shown as -. Of a long front the table has
    a selection that keeps its shape; --all, --json and --csv have every point.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv were both given; choose one")
    with context.connect() as client:
        if as_csv:
            context.console.data(client.front_csv(job, filters=filters))
        else:
            print_front(client, context.console, job=job, filters=filters, as_json=as_json, every=every)


def print_front(
    client: Client, console: Console, *, job: str, filters: dict[str, Any], as_json: bool, every: bool = False
) -> None:
    """Write a job's front as a table, thinned unless `every`, or as JSON."""
    front = client.front(job, filters=filters)
    if as_json:
        console.json(front)
        return
    points: Sequence[Json] = front.get("points") or ()
    shown = points if every else selection(points, front.get("objectives") or ())
    names = shown_values(front)
    console.table(
        ("CANDIDATE", "COUPLING", "THRESHOLD", "ACCURACY %", "ESCALATED %", *[n.upper() for n in names]),
        [front_row(point, names) for point in shown],
    )
    if len(shown) < len(points):
        console.note(f"{len(shown)} of {len(points)} points; --all, --json or --csv give every one")
    if not points:
        limited = any(value is not None for value in filters.values())
        advice = "widen the limits" if limited else f"see `nas show {job}` for how far it is"
        console.note(f"no point yet that has all objectives and keeps the limits; {advice}")


def selection(points: Sequence[Json], objectives: Sequence[str]) -> Sequence[Json]:
    """Return at most 32 points that keep the front's shape, its extremes among them, in the order given."""
    from nas_service.front import CURVE_LIMIT, thin_curve  # other commands do without its libraries

    if len(points) <= CURVE_LIMIT or not objectives:
        return points
    return [points[i] for i in thin_curve([[point["values"][name] for name in objectives] for point in points])]


def shown_values(front: Json) -> list[str]:
    """Return the quantities that a front's table has columns for: its objectives but the error, then the MACs."""
    names = [name for name in front.get("objectives") or () if name != "error"]
    return list(dict.fromkeys([*names, "macs"]))


def front_row(point: Json, names: Sequence[str]) -> list[Cell]:
    """Return one front point as table cells; what was not measured is None."""
    values: dict[str, float] = point.get("values") or {}
    threshold = point["threshold"]
    return [
        point["candidate_id"],
        point.get("coupling"),
        threshold if isinstance(threshold, str) else f"{threshold:.4f}",
        f"{100 * point['accuracy']:.2f}",
        f"{100 * point['escalation_rate']:.1f}",
        *[values.get(name) for name in names],
    ]
