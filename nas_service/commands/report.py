"""`nas report`: what a job found, as HTML and Markdown with plots."""

from __future__ import annotations

from pathlib import Path

import click

from nas_service.client import Client
from nas_service.commands.console import Console
from nas_service.commands.context import Context, json_option, pass_context


@click.command("report")
@click.argument("job")
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder for report.html, report.md and the plots.",
)  # fmt: skip
@json_option
@pass_context
def report_command(context: Context, job: str, out: Path, as_json: bool) -> None:
    """Write a job's report with plots.

    report.html needs no network; report.md shows the same with PNG plots beside it.
    """
    with context.connect() as client:
        report_job(client, context.console, job=job, out=out, as_json=as_json)


def report_job(client: Client, console: Console, *, job: str, out: Path, as_json: bool) -> None:
    """Collect a job's results, write the report, and write its files' paths to stdout."""
    from nas_service.report import collect, write_report  # plotting is slow to import; other commands do without

    paths = write_report(collect(client, job), out)
    if as_json:
        console.json({"files": [str(path) for path in paths]})
        return
    console.data("\n".join(str(path) for path in paths))
