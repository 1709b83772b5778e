"""`nas board add | ls | show | drain | undrain | host-key | rm`, and the group of the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from nas_service.client import Client, Json
from nas_service.commands.board_agreement import agreement_command
from nas_service.commands.board_table import table_command
from nas_service.commands.console import Console, duration, stamp
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.errors import NotFoundError
from nas_service.home import ServiceState
from nas_service.presence import waiting_text

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
PROVIDERS = ("cpu", "xnnpack", "cuda", "tensorrt")


@click.group("board")
def board_group() -> None:
    """Add, look at and remove edge boards."""


board_group.add_command(agreement_command)
board_group.add_command(table_command)


@board_group.command("add")
@click.argument("name")
@click.option("--class", "board_class", required=True, metavar="CLASS", help="Boards whose figures may be pooled.")
@click.option("--provider", type=click.Choice(PROVIDERS), help="What runs the models (default: cpu).")
@click.option("--threads", type=click.IntRange(1, 256), help="Of onnxruntime (default: 1).")
@click.option("--arena/--no-arena", default=None, help="Whether onnxruntime keeps memory (default: it does).")
@click.option("--memory-limit-mib", type=click.IntRange(16), help="For a model (default: 90 % of what is free).")
@click.option("--prepare-timeout-s", type=float, help="To load a model (default: 120; tensorrt: 1800).")
@click.option("--measure-timeout-s", type=float, help="To time it (default: 180, or what the tier takes).")
@json_option
@pass_context
def add_command(context: Context, /, name: str, board_class: str, as_json: bool, **settings: Any) -> None:
    """Prepare a board's enrolment.

    Prints the one-time code to type on the board. What runs the models there is set with the first board of a class and
    kept, as figures depend on it; boards that join the class need no such options.
    """
    chosen = {key: value for key, value in settings.items() if value is not None}
    with context.connect() as client:
        state = context.home().read_state()
        here = state if state is not None and state.api_url == client.url else None
        answer = client.add_board(name, board_class=board_class, settings=chosen or None)
        show_code(answer, context.console, state=here, as_json=as_json)


@board_group.command("ls")
@json_option
@pass_context
def ls_command(context: Context, as_json: bool) -> None:
    """List the boards with class, state and last sign of life."""
    with context.connect() as client:
        list_boards(client, context.console, now_unix_s=time.time(), as_json=as_json)


@board_group.command("show")
@click.argument("name")
@json_option
@pass_context
def show_command(context: Context, name: str, as_json: bool) -> None:
    """Show one board: what it is, what it does, how it feels."""
    with context.connect() as client:
        show_board(client, context.console, name=name, as_json=as_json)


@board_group.command("drain")
@click.argument("name")
@pass_context
def drain_command(context: Context, name: str) -> None:
    """Give a board no further work.

    What it measures now may finish.
    """
    with context.connect() as client:
        client.drain_board(name)
        boards = client.boards()
    context.console.note(f"{name} gets no further work; remove it with `nas board rm {name}` once it is idle")
    for line in stalled_classes(boards):
        context.console.note(line)


@board_group.command("undrain")
@click.argument("name")
@pass_context
def undrain_command(context: Context, name: str) -> None:
    """Give a drained board work again.

    It also ends a quarantine, and forgets what led to it.
    """
    with context.connect() as client:
        client.undrain_board(name)
    context.console.note(f"{name} gets work again")


@board_group.command("host-key")
@click.option("--switch", is_flag=True, help="Show the announced key from now on.")
@click.option("--force", is_flag=True, help="Switch although some boards have not been told; enrol those again.")
@json_option
@pass_context
def host_key_command(context: Context, switch: bool, force: bool, as_json: bool) -> None:
    """Change the gateway's host key.

    Without options, makes the next key, tells the boards, and says which of them know it. With --switch, shows it.
    """
    with context.connect() as client:
        change = client.host_key(switch=switch, force=force)
    if as_json:
        context.console.json(change)
        return
    context.console.data(change["fingerprint"])
    if switch:
        context.console.note("the gateway shows this key now; boards that were told of it come back by themselves")
    else:
        context.console.note(f"know it: {', '.join(change['told']) or 'none'}")
        context.console.note(f"do not know it yet: {', '.join(change['waiting']) or 'none'}")
        context.console.note("when all know it: nas board host-key --switch")


@board_group.command("rm")
@click.argument("name")
@pass_context
def rm_command(context: Context, name: str) -> None:
    """Remove a board and revoke its key at once.

    Its measurements stay. One that has not enrolled yet can no longer.
    """
    with context.connect() as client:
        client.remove_board(name)
    context.console.note(
        f"{name} is removed: its key, or the code that it was to enrol with, is void; measurements stay"
    )


def show_code(answer: Json, console: Console, *, state: ServiceState | None, as_json: bool) -> None:
    """Write a new board's one-time code to stdout, and to stderr what to do with it.

    Args:
        answer: The service's, with the code.
        console: Where to write.
        state: Where the gateway listens; None if the service runs elsewhere.
        as_json: Write JSON instead.
    """
    if as_json:
        console.json(answer)
        return
    console.data(answer["code"])
    console.note(f"on the board, run:  nas-edge enroll {gateway_address(state)} {answer['code']}  &&  nas-edge run")
    console.note(f"the code works once, and only for a while; older codes for {answer['name']} work no more")
    if state is not None and state.gateway_host in LOOPBACK:
        console.note(
            "the gateway listens on loopback only; for other boards: nas down && nas up --gateway-bind ADDRESS"
        )


def gateway_address(state: ServiceState | None) -> str:
    """Return HOST:PORT as `nas-edge enroll` wants it; HOST stands for this machine's address where it is not known."""
    if state is None or state.gateway_port is None:
        return "HOST:PORT"
    host = "HOST" if state.gateway_host in (None, *EVERYWHERE) else state.gateway_host
    return f"{host}:{state.gateway_port}"


def list_boards(client: Client, console: Console, *, now_unix_s: float, as_json: bool) -> None:
    """Write the boards as a table or JSON."""
    boards = client.boards()
    if as_json:
        console.json(boards)
        return
    rows = [
        [
            b["name"],
            b["board_class"],
            standing(b),
            b.get("activity"),
            last_seen(b, now_unix_s=now_unix_s),
            b.get("lease"),
        ]
        for b in boards
    ]
    console.table(("BOARD", "CLASS", "STATE", "ACTIVITY", "LAST SEEN", "LEASE"), rows)
    for line in [*filter(None, (why_out(board) for board in boards)), *stalled_classes(boards)]:
        console.note(line)
    if expected := [board["name"] for board in client.expected_boards()]:
        console.note(waiting_text(expected))
    elif not boards:
        console.note("no boards yet; add one with `nas board add NAME --class CLASS`")


def standing(board: Json) -> str:
    """Return `ready`, or what keeps a board from work.

    That is: draining, quarantined, not heard yet (`new`) or no longer (`suspect`, `lost`, `stopped`), or `out` for what
    `why_out` says.
    """
    state, presence = str(board["state"]), str(board["presence"])
    if state != "ready":
        return state
    if presence != "here":
        return presence
    return "out" if board.get("reason") else state


def why_out(board: Json) -> str | None:
    """Return why a board gets no leases, and what ends that; None for one that gets some."""
    name = board["name"]
    if board.get("reason") and board["state"] != "quarantined":
        return f"{name} gets no leases: {board['reason']}"
    if standing(board) == "new":
        return f"{name} was never heard and gets no leases yet: on the board, start `nas-edge run`"
    if standing(board) == "stopped":
        return f"{name} was stopped and gets no leases: on the board, start `nas-edge run`"
    if standing(board) == "lost":
        return (
            f"{name} is silent and gets no leases until it is heard again: on the board, see that `nas-edge run` runs "
            "and what `nas-edge doctor` says"
        )
    if board["state"] != "quarantined":
        return None
    end = f"until {stamp(board['until'])}" if board.get("until") else "until somebody has looked at it"
    return f"{name} is in quarantine {end}: {board['reason']}; to end it now: nas board undrain {name}"


def stalled_classes(boards: Sequence[Json]) -> list[str]:
    """Return a line for each class none of whose boards gets leases, so that its measurements wait."""
    lines = []
    for board_class in sorted({board["board_class"] for board in boards}):
        members = [board for board in boards if board["board_class"] == board_class]
        if any(standing(board) in ("ready", "suspect") and not board.get("reason") for board in members):
            continue
        states = ", ".join(f"{board['name']} ({standing(board)})" for board in members)
        held = next((board["name"] for board in members if board["state"] in ("draining", "quarantined")), None)
        back = "" if held is None else f" (nas board undrain {held})"
        lines.append(
            f"class {board_class} has no board that gets leases: {states}; its measurements wait until one is "
            f"back{back} or added (nas board add NAME --class {board_class})"
        )
    return lines


def last_seen(board: Json, *, now_unix_s: float) -> str | None:
    """Return how long ago a board was heard from, None if never."""
    seen = board.get("last_seen")
    return None if seen is None else f"{duration(now_unix_s - seen)} ago"


def show_board(client: Client, console: Console, *, name: str, as_json: bool) -> None:
    """Write everything known of one board.

    Raises:
        NotFoundError: There is no such board; the text names those there are.
    """
    boards = {b["name"]: b for b in client.boards()}
    if name not in boards:
        known = ", ".join(sorted(boards)) or "none yet"
        raise NotFoundError(f"no board {name!r}; known boards: {known}; add one with `nas board add`")
    if as_json:
        console.json(boards[name])
        return
    facts = board_facts(boards[name])
    width = max(len(key) for key, _ in facts)
    console.data("\n".join(f"{key:<{width}}  {value}" for key, value in facts))


def board_facts(board: Json, *, prefix: str = "") -> list[tuple[str, str]]:
    """Return a board's fields, nested ones dotted, as (name, text); what is unknown is left out."""
    facts: list[tuple[str, str]] = []
    for key, value in board.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            facts += board_facts(value, prefix=f"{name}.")
        elif value is not None:
            facts.append((name, _fact(key, value)))
    return facts


def _fact(key: str, value: Any) -> str:
    if key.endswith(("_at", "_seen", "_unix_s")) and isinstance(value, (int, float)):
        return stamp(value) or ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
