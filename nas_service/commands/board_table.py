"""`nas board table CLASS`: measure well-chosen pairs of a space on a class, so that all others can be predicted."""

from __future__ import annotations

from typing import Any

import click

from nas_service.commands.context import Context, pass_context
from nas_service.commands.submit import require_finished, submit_job, wait_or_detach

QUANTITY = "latency_ms"


@click.command("table")
@click.argument("board_class", metavar="CLASS")
@click.option("--space", default="tiny", show_default=True, help="A preset, or package.module:object.")
@click.option("--dataset", required=True, help="Whose images and classes the graphs are for, as in a job.")
@click.option("--root", type=click.Path(), help="Where the data set lies.")
@click.option("--pairs", default=50, show_default=True, help="How many pairs; each has two halves to measure.")
@click.option("--tier", type=click.Choice(["probe", "screen", "rank"]), default="screen", show_default=True)
@click.option("--router", default="msp", show_default=True, help="The router of the searches to come.")
@click.option("--no-wait", is_flag=True, help="Print the job's id and return.")
@pass_context
def table_command(
    context: Context,
    board_class: str,
    space: str,
    dataset: str,
    root: str | None,
    pairs: int,
    tier: str,
    router: str,
    no_wait: bool,
) -> None:
    """Measure what the costs of a space's other pairs are predicted from.

    Submits a job of kind measure. Run again, it measures only what is lacking.
    """
    from pathlib import Path

    from nas_service.commands.spec_file import make_root_absolute
    from nas_service.job import parse_job  # jobs know the searchers, which are slow to import

    data: dict[str, Any] = {
        "kind": "measure",
        "name": f"{space} on {board_class}",
        "dataset": {"name": dataset} | ({} if root is None else {"root": root}),
        "space": {"preset": space},
        "objectives": [f"{QUANTITY}@{board_class}"],
        "measurement": {"tier": tier, "pairs": pairs},
        "router": router,
    }
    make_root_absolute(data, folder=Path.cwd())
    spec = parse_job(data)
    with context.connect() as client:
        job = submit_job(client, context.console, spec=spec, as_json=False)
        if no_wait:
            return
        require_finished(wait_or_detach(client, context.console, job_id=job["id"]))
        for event in client.past_events(job["id"]):
            if event.kind == "table":
                context.console.note(event.message)
