"""The `nas` command: its subcommands, its global options, and how failures become exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from nas_service.commands.bench import bench_command
from nas_service.commands.boards import board_group
from nas_service.commands.bundle import get_command
from nas_service.commands.console import Console
from nas_service.commands.context import Context, LocalCluster
from nas_service.commands.doctor import doctor_command
from nas_service.commands.front import front_command
from nas_service.commands.jobs import jobs_command, logs_command, resume_command, show_command, stop_command
from nas_service.commands.local import demo_command, down_command, status_command, up_command
from nas_service.commands.report import report_command
from nas_service.commands.submit import submit_command
from nas_service.commands.tokens import token_group
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.settings import Settings

DONE, FAILED = 0, 1

COMMANDS: tuple[click.Command, ...] = (
    demo_command,
    up_command,
    down_command,
    status_command,
    doctor_command,
    submit_command,
    jobs_command,
    show_command,
    logs_command,
    stop_command,
    resume_command,
    front_command,
    get_command,
    report_command,
    bench_command,
    board_group,
    token_group,
)


class InOrderGroup(click.Group):
    """A group whose help lists commands in the order of a working day, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order they were added."""
        return list(self.commands)


@click.group(
    "nas",
    cls=InOrderGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="NAS_URL and NAS_TOKEN name a service elsewhere; NAS_HOME is where a local one lives (~/.biglittle-nas).",
)
@click.version_option(package_name="biglittle-nas", prog_name="nas")
def root() -> None:
    """Search big/little network pairs, measured on real edge boards."""


def _debug_option() -> click.Option:
    def switch(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Context).debug = True

    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=switch, help="Show a failure's traceback."
    )


def _add_debug(command: click.Command) -> None:
    command.params.append(_debug_option())
    if isinstance(command, click.Group):
        for member in command.commands.values():
            _add_debug(member)


for _command in COMMANDS:
    root.add_command(_command)
_add_debug(root)


def run(arguments: Sequence[str], cluster: LocalCluster) -> int:
    """Run one `nas` command and return its exit code: 0 done, 1 failed, 2 bad usage.

    Args:
        arguments: The command line after `nas`.
        cluster: What starts and stops the service on this machine.
    """
    console = Console(out=sys.stdout, err=sys.stderr)
    context = Context(console=console, cluster=cluster, home=_home)
    try:
        return _code(root.main(args=list(arguments), prog_name="nas", standalone_mode=False, obj=context))
    except (Exception, KeyboardInterrupt) as error:
        if context.debug:
            traceback.print_exc(file=console.err)
        return report_failure(console, error, debug=context.debug)


def report_failure(console: Console, error: BaseException, *, debug: bool = False) -> int:
    """Write a failure to stderr, in the words of who raised it, and return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show(file=console.err)
        return error.exit_code
    if isinstance(error, click.ClickException):
        if isinstance(error, click.UsageError) and error.ctx is not None:
            console.note(f"{error.ctx.get_usage()}\nsee `{error.ctx.command_path} --help`")
        console.error(error.format_message())
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        console.error("interrupted")
    elif isinstance(error, NasError):
        console.error(str(error))
    elif isinstance(error, OSError) and error.errno == errno.EPIPE:
        _close_quietly(console)
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}")
    else:
        again = "" if debug else "; run it again with --debug to see where, and report it"
        console.error(f"unexpected {type(error).__name__}: {error}{again}")
    return FAILED


def _code(result: Any) -> int:
    return result if isinstance(result, int) else DONE


def _home() -> Home:
    return Home(Settings.from_environment().home)


def _close_quietly(console: Console) -> None:
    """Let the interpreter's last flush go nowhere: whoever read our output has left."""
    if console.out is sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
