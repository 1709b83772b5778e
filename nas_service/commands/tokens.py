"""`nas token create | ls | revoke`."""

from __future__ import annotations

import click

from nas_service.client import Client
from nas_service.commands.console import Console, stamp
from nas_service.commands.context import Context, json_option, pass_context

ROLES = ("viewer", "submitter", "admin")


@click.group("token")
def token_group() -> None:
    """Make and revoke the bearer tokens that people and programs use."""


@token_group.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")
@json_option
@pass_context
def create_command(context: Context, name: str, role: str, as_json: bool) -> None:
    """Create a token; its secret is shown once."""
    with context.connect() as client:
        create_token(client, context.console, name=name, role=role, as_json=as_json)


@token_group.command("ls")
@json_option
@pass_context
def ls_command(context: Context, as_json: bool) -> None:
    """List the tokens; secrets are not stored."""
    with context.connect() as client:
        list_tokens(client, context.console, as_json=as_json)


@token_group.command("revoke")
@click.argument("name")
@pass_context
def revoke_command(context: Context, name: str) -> None:
    """Revoke a token at once."""
    with context.connect() as client:
        client.revoke_token(name)
    context.console.note(f"token {name} is revoked")


def create_token(client: Client, console: Console, *, name: str, role: str, as_json: bool) -> None:
    """Write a new token's secret to stdout."""
    answer = client.create_token(name, role=role)
    if as_json:
        console.json(answer)
        return
    console.data(answer["secret"])
    console.note(f"keep it now, it is not stored; use it as NAS_TOKEN, with NAS_URL={client.url}")


def list_tokens(client: Client, console: Console, *, as_json: bool) -> None:
    """Write the tokens as a table or JSON."""
    tokens = client.tokens()
    if as_json:
        console.json(tokens)
        return
    rows = [[t["name"], t["role"], stamp(t["created_at"]), stamp(t.get("revoked_at"))] for t in tokens]
    console.table(("TOKEN", "ROLE", "CREATED", "REVOKED"), rows)
