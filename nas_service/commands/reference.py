"""The command line's reference as Markdown, from the commands' own help: `python -m nas_service.commands.reference`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from nas_service.commands.root import root

HEADER = """# The command line

Written by `python -m nas_service.commands.reference > docs/cli.md`; a test holds it up to date.

Data go to stdout, progress and notes to stderr. Exit code 0: done, 1: failed, 2: bad usage, or a file that is no job.
`NAS_URL` and `NAS_TOKEN` name a service elsewhere; without them the one in `NAS_HOME` (default `~/.biglittle-nas`) is
meant. Every command takes `--debug`, which shows a failure's traceback.
"""

_EVERYWHERE = {"debug", "help", "version"}


def reference(group: click.Group) -> str:
    """Return the reference of a group's commands, nested groups flattened."""
    return "\n".join([HEADER, *(_section(names, command) for names, command in _commands(group, (group.name or "",)))])


def _commands(group: click.Group, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*names, name))
        else:
            yield (*names, name), command


def _section(names: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(names))
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## `{' '.join(names)}`", "", "```", f"{' '.join(names)} {usage}".rstrip(), "```", ""]
    lines += [inspect.cleandoc(command.help or ""), ""]
    rows = [_row(option, context) for option in command.params if option.name not in _EVERYWHERE]
    options = [row for row in rows if row is not None]
    if options:
        lines += ["| option | meaning |", "| --- | --- |", *options, ""]
    return "\n".join(lines)


def _row(option: click.Parameter, context: click.Context) -> str | None:
    record = option.get_help_record(context)
    if record is None:
        return None
    names, meaning = (text.replace("|", "\\|") for text in record)
    return f"| `{names}` | {meaning} |"


if __name__ == "__main__":
    click.echo(reference(root), nl=False)
