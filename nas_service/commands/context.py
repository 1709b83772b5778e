"""What the commands are given: a console, a way to the service, and the local cluster's operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from nas_service.addresses import Addresses
from nas_service.bench import BenchOutcome, BenchRequest, Show
from nas_service.client import Client
from nas_service.commands.console import Console, Report
from nas_service.home import Home, ServiceState

F = TypeVar("F", bound=Callable[..., Any])


class LocalCluster(Protocol):
    """What is done on this machine, the service and its training; the package `cluster` has it."""

    def up(
        self,
        home: Home,
        *,
        addresses: Addresses,
        autoscaling_config: Path | None,
        reserve_cores: int,
        report: Report,
    ) -> ServiceState:
        """Start everything that does not run yet and return where it listens."""

    def down(self, home: Home, *, report: Report) -> bool:
        """Stop everything; return whether anything ran."""

    def hold(self, home: Home, *, start: Callable[[], None], report: Report) -> bool:
        """Call `start`, wait for a signal, stop everything; return False if the service ended before."""

    def demo(self, *, out: Path, keep: bool, report: Report) -> int:
        """Run the main job end to end and return the exit code."""

    def bench(self, request: BenchRequest, *, show: Show, report: Report) -> BenchOutcome:
        """Train and judge the systems of a bench, and return what came of it."""


@dataclass(slots=True, kw_only=True)
class Context:
    """One invocation of `nas`.

    Attributes:
        console: Where it writes.
        cluster: What starts and stops the service here.
        connect: Makes the client, when a command needs one.
        home: Makes the home folder's paths, when a command needs them.
        debug: Whether failures show their traceback.
    """

    console: Console
    cluster: LocalCluster
    connect: Callable[[], Client] = Client.from_environment
    home: Callable[[], Home]
    debug: bool = False


pass_context = click.make_pass_decorator(Context)


def json_option(command: F) -> F:
    """Give a command the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON for machines to stdout.")(command)
