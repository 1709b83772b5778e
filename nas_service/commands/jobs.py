"""`nas jobs | show | logs | stop | resume`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from nas_service.client import ENDED_STATES, Client, Json
from nas_service.commands.console import Console, duration, stamp
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.comparison import Comparison
from nas_service.server_events import JobEvent
from nas_service.tuning import Tuning, parameters_text

SILENT_S = 60.0


@click.command("jobs")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, newest first.")
@json_option
@pass_context
def jobs_command(context: Context, limit: int, as_json: bool) -> None:
    """List the jobs, newest first."""
    with context.connect() as client:
        list_jobs(client, context.console, limit=limit, as_json=as_json)


@click.command("show")
@click.argument("job")
@json_option
@pass_context
def show_command(context: Context, job: str, as_json: bool) -> None:
    """Show one job: its state, progress and counts."""
    with context.connect() as client:
        show_job(client, context.console, job=job, as_json=as_json)


@click.command("logs")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Wait for further lines until the job ends.")
@json_option
@pass_context
def logs_command(context: Context, job: str, follow: bool, as_json: bool) -> None:
    """Print a job's log.

    With --json, one JSON object a line.
    """
    with context.connect() as client:
        print_logs(client, context.console, job=job, follow=follow, as_json=as_json)


@click.command("stop")
@click.argument("job")
@json_option
@pass_context
def stop_command(context: Context, job: str, as_json: bool) -> None:
    """Ask a job to stop.

    What it has found stays, and `nas resume` continues it.
    """
    with context.connect() as client:
        answer = client.stop(job)
    _acknowledge(context.console, answer, f"{job} is asked to stop; `nas show {job}` tells when it has", as_json)


@click.command("resume")
@click.argument("job")
@json_option
@pass_context
def resume_command(context: Context, job: str, as_json: bool) -> None:
    """Continue a job that stopped, failed or lost its driver.

    It goes on with the same archive; nothing measured is repeated.
    """
    with context.connect() as client:
        answer = client.resume(job)
    _acknowledge(context.console, answer, f"{job} goes on; follow it with `nas logs {job} -f`", as_json)


def list_jobs(client: Client, console: Console, *, limit: int, as_json: bool) -> None:
    """Write the newest jobs as a table or JSON."""
    jobs = client.jobs(limit=limit)
    if as_json:
        console.json(jobs)
        return
    rows = [[j["id"], j["kind"], j["state"], progress_text(j), stamp(j.get("created_at"))] for j in jobs]
    console.table(("JOB", "KIND", "STATE", "PROGRESS", "CREATED"), rows)
    for job in jobs:
        if warning := silence_text(job, now_unix_s=time.time()):
            console.note(f"{job['id']}: {warning}")
    if not jobs:
        console.note("no jobs yet; start one with `nas submit JOB.yaml`")


def show_job(client: Client, console: Console, *, job: str, as_json: bool) -> None:
    """Write everything known of one job."""
    found = client.job(job)
    if as_json:
        console.json(found)
        return
    facts = job_facts(found)
    if finalists := [str(c["number"]) for c in client.candidates(job, finalists=True)]:
        noun = "candidate" if len(finalists) == 1 else "candidates"
        facts.append(("finalists", f"{noun} {', '.join(finalists)} (fetch one: nas get {job} NUMBER -o DIR)"))
    if warning := silence_text(found, now_unix_s=time.time()):
        facts.insert(4, ("warning", warning))
    if found["kind"] == "tune":
        tuning = Tuning.of(client.past_events(job))
        facts += tuning_facts(tuning)
    if found["kind"] == "search" and found["state"] == "finished":
        facts += audit_facts(client, job)
    width = max(len(name) for name, _ in facts)
    console.data("\n".join(f"{name:<{width}}  {value}" for name, value in facts))
    if found["kind"] == "tune":
        show_trials(console, tuning)
    if found["kind"] == "compare":
        show_standings(console, Comparison.of(client.past_events(job)), objectives=found["spec"]["objectives"])


def audit_facts(client: Client, job: str) -> list[tuple[str, str]]:
    """Return how far the search's shortcuts held, as (name, text); nothing without finalists."""
    from nas_service.fidelity import audit, fidelity_facts  # for finished searches only

    candidates = [AuditedView(c) for c in client.candidates(job)]
    measured = client.measurements() if any(c.finalist and c.measurements for c in candidates) else []
    latencies = {m["measurement_key"]: float(m["latency"]["mean_ms"]) for m in reversed(measured)
                 if m["status"] == "ok" and m["latency"]}  # fmt: skip
    found = audit(candidates, client.past_events(job), latencies_ms=latencies)
    return [("audit", f"{question}: {answer}") for question, answer in fidelity_facts(found)]


def show_standings(console: Console, comparison: Comparison, *, objectives: Sequence[str]) -> None:
    """Write the strategies as a table, the best mean rank first."""
    from nas_service.standings import Standings, standing_row  # moocore takes a while to import

    rows = [standing_row(standing) for standing in Standings(comparison, objectives=objectives).standings]
    if rows:
        console.data("")
        console.table(("STRATEGY", "RANK", "EVALUATIONS", "HYPERVOLUME", "ON THE FRONT OF ALL"), rows)


@dataclass(frozen=True, slots=True)
class AuditedView:
    """A candidate of the API as an audit looks at it."""

    view: Json

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.view["id"])

    @property
    def accuracies(self) -> dict[str, float]:
        """Of both halves with shared weights, in percent."""
        return dict(self.view["accuracies"])

    @property
    def measurements(self) -> dict[str, dict[str, str]]:
        """What the search measured: measurement key by half by board class."""
        return dict(self.view["measurements"])

    @property
    def final(self) -> dict[str, Any]:
        """What became of a finalist."""
        return dict(self.view.get("final") or {})

    @property
    def finalist(self) -> bool:
        """Whether it is one."""
        return bool(self.view["finalist"])


def tuning_facts(tuning: Tuning) -> list[tuple[str, str]]:
    """Return what there is to say of a tuning so far, as (name, text)."""
    counts = {status: tuning.count(status) for status in ("finished", "stopped", "failed", "running")}
    facts = [("trials", ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "none yet")]
    if (best := tuning.best) is not None:
        value = f"trial {best.number}, {100 * (best.value or 0.0):.2f} % after {best.epoch} epochs"
        facts += [("best", value), ("with", parameters_text(best.parameters))]
    return facts


def show_trials(console: Console, tuning: Tuning) -> None:
    """Write the trials as a table, best first."""
    rows = [
        [t.number, t.status, t.epoch, "-" if t.value is None else f"{100 * t.value:.2f}", parameters_text(t.parameters)]
        for t in tuning.ranked
    ]
    if rows:
        console.data("")
        console.table(("TRIAL", "ENDED", "EPOCHS", "METRIC %", "PARAMETERS"), rows)


def job_facts(job: Json) -> list[tuple[str, str]]:
    """Return what there is to say of a job, as (name, text); what is unknown is left out."""
    spec: dict[str, Any] = job.get("spec") or {}
    started, finished = job.get("started_at"), job.get("finished_at")
    pairs: list[tuple[str, Any]] = [
        ("job", job["id"]),
        ("name", job.get("name")),
        ("kind", job["kind"]),
        ("state", job["state"]),
        ("message", job.get("message")),
        ("progress", progress_text(job)),
        ("candidates", _counts(job.get("candidates"))),
        ("data set", (spec.get("dataset") or {}).get("name")),
        ("space", (spec.get("space") or {}).get("preset")),
        ("strategies", _strategies(spec.get("strategy")) or _compared(spec.get("compare"))),
        ("objectives", ", ".join(spec.get("objectives") or ())),
        ("priority", spec.get("priority")),
        ("created", stamp(job.get("created_at"))),
        ("started", stamp(started)),
        ("finished", stamp(finished)),
        ("took", duration(finished - started) if started and finished else None),
        ("spec hash", job.get("spec_hash")),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def silence_text(job: Json, *, now_unix_s: float) -> str | None:
    """Return a warning if a job that should run has not heard from its driver for a minute; None if all is well."""
    heard = job.get("heartbeat_at") or job.get("started_at")
    if job["state"] in ENDED_STATES or job["state"] == "queued" or not heard or now_unix_s - heard < SILENT_S:
        return None
    return f"no sign of its driver for {duration(now_unix_s - heard)}; continue it with `nas resume {job['id']}`"


def progress_text(job: Json) -> str:
    """Return a job's progress as 'phase done/total detail'; '-' if there is none."""
    progress = job.get("progress")
    if not progress:
        return "-"
    done, total = progress.get("done") or 0, progress.get("total")
    count = f"{done:g}/{total:g}" if total else ""
    return " ".join(str(part) for part in (progress.get("phase"), count, progress.get("detail")) if part)


def print_logs(client: Client, console: Console, *, job: str, follow: bool, as_json: bool) -> None:
    """Write a job's events: all there are, and with `follow` those to come."""
    found = client.job(job)
    if follow and (warning := silence_text(found, now_unix_s=time.time())):
        console.note(warning)
    for event in client.events(job) if follow else client.past_events(job):
        console.data(event_json(event) if as_json else event_line(event))


def event_line(event: JobEvent) -> str:
    """Return an event as one line: time, kind, message."""
    return "  ".join(part for part in (stamp(event.at_unix_s), event.kind, event.message) if part)


def event_json(event: JobEvent) -> str:
    """Return an event as one line of JSON."""
    value = {"id": event.id, "at": event.at_unix_s, "kind": event.kind, "message": event.message, "data": event.data}
    return json.dumps(value, allow_nan=False)


def _acknowledge(console: Console, answer: Json, text: str, as_json: bool) -> None:
    if as_json:
        console.json(answer)
    else:
        console.note(text)


def _counts(counts: Any) -> str | None:
    if not isinstance(counts, dict):
        return None
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number) or None


def _compared(compare: Any) -> str:
    if not isinstance(compare, dict):
        return ""
    return f"{', '.join(compare['strategies'])} ({compare['seeds']} seeds of {compare['evaluations']} each)"


def _strategies(strategy: Any) -> str:
    entries = strategy if isinstance(strategy, list) else [strategy] if strategy else []
    return ", ".join(f"{s.get('name', '?')} ({s.get('evaluations', '?')})" for s in entries if isinstance(s, dict))
