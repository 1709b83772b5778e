"""`nas demo | up | down | status`: the service on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from nas_service.addresses import Addresses
from nas_service.client import Client, Json
from nas_service.commands.console import Console, stamp
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.home import ServiceState

PORT = click.IntRange(1, 65535)


@click.command("demo")
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"), show_default=True,
    help="Folder for the report.",
)  # fmt: skip
@click.option("--keep/--no-keep", default=None, help="Leave the dashboard up until Ctrl-C; default: on a terminal.")
@pass_context
def demo_command(context: Context, out: Path, keep: bool | None) -> None:
    """Run the main job end to end, right here.

    On data that comes with an installed package, with one local board over real SSH on loopback.
    """
    console = context.console
    stay = console.out.isatty() if keep is None else keep
    code = context.cluster.demo(out=out, keep=stay, report=console.note)
    if code:
        raise click.exceptions.Exit(code)


@click.command("up")
@click.option(
    "--gateway-bind", default="127.0.0.1", show_default=True, metavar="ADDR", help="Where boards may connect."
)
@click.option("--gateway-port", type=PORT, help="The boards' SSH port; default: as before, or a free one.")
@click.option(
    "--api-bind", default="127.0.0.1", show_default=True, metavar="ADDR",
    help="Where the API and the dashboard listen, in plain HTTP.",
)  # fmt: skip
@click.option("--api-port", type=PORT, help="The API's and dashboard's port; default: as before, or a free one.")
@click.option("--ray-port", type=PORT, help="The port that worker machines join; default: a free one.")
@click.option(
    "--autoscaling-config", type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The machines that Ray starts as workers, as `ray up` writes it.",
)  # fmt: skip
@click.option(
    "--reserve-cores", type=click.IntRange(0), default=0, show_default=True, help="Cores that Ray leaves alone."
)
@click.option("--block", is_flag=True, help="Stay until SIGTERM or Ctrl-C, then stop everything; for supervisors.")
@json_option
@pass_context
def up_command(
    context: Context,
    /,
    autoscaling_config: Path | None,
    reserve_cores: int,
    block: bool,
    as_json: bool,
    **listens: Any,
) -> None:
    """Start the service on this machine.

    That is Ray, the API with its dashboard, and the boards' SSH gateway. What runs already is left alone.
    """

    def start() -> None:
        """Start it and write where it listens."""
        state = context.cluster.up(
            context.home(),
            addresses=Addresses(**listens),
            autoscaling_config=autoscaling_config,
            reserve_cores=reserve_cores,
            report=context.console.note,
        )
        print_state(context.console, state, as_json=as_json)
        context.console.note(f"the dashboard asks for a token; yours is in {context.home().admin_token_file}")

    if not block:
        start()
    elif not context.cluster.hold(context.home(), start=start, report=context.console.note):
        raise click.exceptions.Exit(1)


@click.command("down")
@pass_context
def down_command(context: Context) -> None:
    """Stop the service on this machine.

    Jobs, candidates, boards and measurements stay stored.
    """
    if not context.cluster.down(context.home(), report=context.console.note):
        context.console.note("nothing was running")


@click.command("status")
@json_option
@pass_context
def status_command(context: Context, as_json: bool) -> None:
    """Say what runs where, and how jobs and boards are.

    Exit code 1 if the service does not answer.
    """
    state = context.home().read_state()
    with context.connect() as client:
        print_status(client, context.console, state=state, as_json=as_json)


def print_state(console: Console, state: ServiceState, *, as_json: bool) -> None:
    """Write where a service that was brought up listens."""
    if as_json:
        console.json(state.to_dict())
        return
    console.data("\n".join(f"{name:<10} {value}" for name, value in state_facts(state)))


def state_facts(state: ServiceState) -> list[tuple[str, str]]:
    """Return where the parts of a service listen, as (name, text); what does not run is left out."""
    gateway = f"{state.gateway_host}:{state.gateway_port}" if state.gateway_port else None
    facts = [
        ("dashboard", state.api_url),
        ("gateway", gateway),
        ("host key", state.host_key_fingerprint),
        ("ray", state.ray_address),
        ("started", stamp(state.started_at)),
        ("version", state.version),
    ]
    return [(name, value) for name, value in facts if value]


def print_status(client: Client, console: Console, *, state: ServiceState | None, as_json: bool) -> None:
    """Write what a service that answers says of itself.

    Raises:
        RetryableError: It does not answer.
    """
    client.require_healthy()
    jobs, boards = client.jobs(limit=200), client.boards()
    here = state if state is not None and state.api_url and state.api_url.rstrip("/") == client.url else None
    dead = [] if here is None else dead_parts(here)
    if as_json:
        summary = {"url": client.url, "jobs": counted(jobs), "boards": counted(boards), "dead_parts": dead}
        console.json({**summary, "state": here.to_dict() if here else None})
        return
    facts = [*(state_facts(here) if here else [("dashboard", client.url)])]
    facts += [("jobs", _counts_text(counted(jobs))), ("boards", _counts_text(counted(boards)))]
    console.data("\n".join(f"{name:<10} {value}" for name, value in facts))
    if dead:
        console.note(f"these parts have died: {', '.join(dead)}; run `nas up` to bring them back")


def counted(rows: list[Json]) -> dict[str, int]:
    """Return how many rows are in each state, by state."""
    states = [str(row["state"]) for row in rows]
    return {state: states.count(state) for state in sorted(set(states))}


def dead_parts(state: ServiceState) -> list[str]:
    """Return the parts whose process is gone, by name."""
    return sorted(part for part, pid in state.pids.items() if not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"
