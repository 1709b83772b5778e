"""The entry point of `nas`. Third-party packages and `cluster` are imported only inside, when they are needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_service.addresses import Addresses
    from nas_service.bench import BenchOutcome, BenchRequest, Show
    from nas_service.home import Home, ServiceState

INSTALL = "nas needs the service's packages ({name} is missing); install them: pip install 'biglittle-nas[service]'"


class Cluster:
    """The service on this machine, as the package `cluster` starts and stops it."""

    def up(
        self,
        home: Home,
        *,
        addresses: Addresses,
        autoscaling_config: Path | None,
        reserve_cores: int,
        report: Callable[[str], None],
    ) -> ServiceState:
        """Start everything that does not run yet and return where it listens."""
        from cluster.local import up

        return up(
            home,
            addresses=addresses,
            autoscaling_config=autoscaling_config,
            reserve_cores=reserve_cores,
            report=report,
        )

    def down(self, home: Home, *, report: Callable[[str], None]) -> bool:
        """Stop everything; return whether anything ran."""
        from cluster.local import down

        return down(home, report=report)

    def hold(self, home: Home, *, start: Callable[[], None], report: Callable[[str], None]) -> bool:
        """Call `start`, wait for a signal, stop everything; return False if the service ended before."""
        from cluster.foreground import hold

        return hold(home, start=start, report=report)

    def demo(self, *, out: Path, keep: bool, report: Callable[[str], None]) -> int:
        """Run the main job end to end and return the exit code."""
        from cluster.demo import run

        return run(out=out, keep=keep, report=report)

    def bench(self, request: BenchRequest, *, show: Show, report: Callable[[str], None]) -> BenchOutcome:
        """Train and judge the systems of a bench, and return what came of it."""
        from cluster.bench import run

        return run(request, command=["nas", *sys.argv[1:]], show=show, report=report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `nas` with these arguments (None: the process's own) and return its exit code."""
    try:
        from nas_service.commands.root import run
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("nas_service", "cluster"):
            raise
        print(INSTALL.format(name=error.name), file=sys.stderr)
        return 1
    return run(sys.argv[1:] if arguments is None else arguments, Cluster())
