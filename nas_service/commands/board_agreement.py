"""`nas board agreement CLASS`: how far each board of a class measures beside the others."""

from __future__ import annotations

import click

from nas_service.client import Client, Json
from nas_service.commands.console import Console
from nas_service.commands.context import Context, json_option, pass_context


@click.command("agreement")
@click.argument("board_class", metavar="CLASS")
@json_option
@pass_context
def agreement_command(context: Context, board_class: str, as_json: bool) -> None:
    """Show how far the boards of a class agree.

    One measurement in twenty is made again by a second board that has nothing else to do. From these, tells by how
    much each board is slower or faster than the others. No figure is corrected by it.
    """
    with context.connect() as client:
        show_agreement(client, context.console, board_class=board_class, as_json=as_json)


def show_agreement(client: Client, console: Console, *, board_class: str, as_json: bool) -> None:
    """Write how far the boards of a class agree, as a table or JSON, and what to do where nothing is known."""
    found = client.board_agreement(board_class)
    if as_json:
        console.json(found)
        return
    if found["boards"]:
        rows = [[b["board"], signed(b["percent"]), interval(b), b["shared"]] for b in found["boards"]]
        console.table(("BOARD", "OFFSET", "95 % INTERVAL", "SHARED"), rows)
    for line in remarks(found):
        console.note(line)


def remarks(found: Json) -> list[str]:
    """Return what is to be said beside the table: the spread, who is missing in it, and what to do."""
    name, members = found["board_class"], found["members"]
    if found["boards"]:
        lines = []
        if found["spread_percent"] is not None:
            lines.append(f"offsets set aside, figures of one model differ by {found['spread_percent']:.2f} % (1 sigma)")
        if found["not_compared"]:
            lines.append(f"shared too little to be compared: {', '.join(found['not_compared'])}")
        return lines
    if len(members) < 2:
        who = f"one board ({members[0]})" if members else "no board"
        return [f"class {name} has {who}, and agreement takes two; add another: nas board add NAME --class {name}"]
    return [
        f"nothing was measured yet by two boards of class {name} ({', '.join(members)}); one measurement in twenty is "
        "made again by a second board once that has nothing else to do: submit a job, and leave the boards running"
    ]


def signed(percent: float) -> str:
    """Return a percentage with its sign."""
    return f"{percent:+.2f} %"


def interval(board: Json) -> str | None:
    """Return a board's 95 % interval, None if too little was shared to tell one."""
    low, high = board["low_percent"], board["high_percent"]
    return None if low is None or high is None else f"{signed(low)} to {signed(high)}"
