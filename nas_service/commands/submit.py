"""`nas submit`: check a job here, send it, and with `--wait` watch it to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.client import ENDED_STATES, Client, Json
from nas_service.commands.console import Console, duration
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.commands.progress import Display, Step, make_display
from nas_service.errors import NasError, RetryableError

if TYPE_CHECKING:
    from nas_service.job import JobSpec

POLL_S = 1.0
PATIENCE_S = 120.0


@click.command("submit")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="JOB.yaml")
@click.option("--wait", is_flag=True, help="Show progress until the job ends; Ctrl-C leaves it running.")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would run; start nothing.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY.PATH=VALUE", help="Change a value of the file; repeatable."
)
@json_option
@pass_context
def submit_command(
    context: Context, file: Path, wait: bool, dry_run: bool, changes: Sequence[str], as_json: bool
) -> None:
    """Start the job that JOB.yaml describes and print its id."""
    if wait and dry_run:
        raise click.UsageError("--wait and --dry-run were both given; a dry run starts nothing to wait for")
    from nas_service.commands.spec_file import read_spec  # jobs know the searchers, which are slow to import

    spec = read_spec(file, changes=changes)
    with context.connect() as client:
        if dry_run:
            context.console.json(client.submit(_body(spec), dry_run=True))
            return
        job = submit_job(client, context.console, spec=spec, as_json=as_json and not wait)
        if wait:
            ended = wait_or_detach(client, context.console, job_id=job["id"])
            if as_json:
                context.console.json(ended)
            require_finished(ended)


def submit_job(client: Client, console: Console, *, spec: JobSpec, as_json: bool) -> Json:
    """Create the job, write its id (or its JSON) to stdout, and return it."""
    job = client.submit(_body(spec))
    if as_json:
        console.json(job)
    else:
        console.data(job["id"])
    return job


def wait_or_detach(client: Client, console: Console, *, job_id: str) -> Json:
    """Return the job once it has ended; Ctrl-C stops the watching, says that the job goes on, and exits 1."""
    try:
        return follow_job(client, job_id, console=console)
    except KeyboardInterrupt:
        console.note(
            f"\ndetached; {job_id} goes on. Watch it with `nas logs {job_id} -f`, end it with `nas stop {job_id}`"
        )
        raise click.exceptions.Exit(1) from None


def follow_job(
    client: Client,
    job_id: str,
    *,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    display: Display | None = None,
) -> Json:
    """Show a job's progress until it ends and return it then.

    Raises:
        RetryableError: The service did not answer for two minutes.
    """
    silent_since_s: float | None = None
    with display or make_display(console, clock=clock) as shown:
        while True:
            try:
                job = client.job(job_id)
            except RetryableError:
                silent_since_s = clock() if silent_since_s is None else silent_since_s
                if clock() - silent_since_s > PATIENCE_S:
                    raise
            else:
                silent_since_s = None
                if job["state"] not in ENDED_STATES or job.get("progress"):
                    shown.show(Step.of(job))
                if job["state"] in ENDED_STATES:
                    break
            sleep(POLL_S)
    console.note(ended_text(job))
    return job


def ended_text(job: Json) -> str:
    """Return how a job ended, and what to do next, in one line."""
    began, ended = job.get("started_at"), job.get("finished_at")
    took = f" after {duration(ended - began)}" if began and ended else ""
    advice = {
        "finished": f"see `nas {'front' if job.get('kind') == 'search' else 'show'} {job['id']}`",
        "stopped": f"continue it with `nas resume {job['id']}`",
        "failed": f"see `nas logs {job['id']}`, then `nas resume {job['id']}`",
    }
    why = f": {job['message']}" if job.get("message") and job["state"] != "finished" else ""
    return f"{job['id']} {job['state']}{took}{why}; {advice[job['state']]}"


def require_finished(job: Json) -> None:
    """Raise NasError unless the job ended well."""
    if job["state"] != "finished":
        raise NasError(f"{job['id']} is {job['state']}, not finished")


def _body(spec: JobSpec) -> Json:
    return spec.to_dict()
