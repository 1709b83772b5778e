"""The kinds of fault, each as a short scene: it breaks something, waits, and lets it mend."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.faults.processes import BoardProcess, Broker


@dataclass(frozen=True, slots=True)
class Stage:
    """What a fault may touch: the gateway, its mailboxes, one board, and chance."""

    broker: Broker
    mailboxes: Path
    board: BoardProcess
    rng: random.Random


def kill(stage: Stage) -> None:
    """The agent dies without warning; whoever looks after it starts it again."""
    stage.board.kill()
    time.sleep(stage.rng.uniform(0.0, 1.0))


def stop(stage: Stage) -> None:
    """The agent stands still, now and then past its lease, and goes on as if nothing had been."""
    stage.board.send(signal.SIGSTOP)
    time.sleep(stage.rng.choice((0.5, 1.0, 2.0, 9.0)))
    stage.board.send(signal.SIGCONT)


def cut(stage: Stage) -> None:
    """The connection ends for both sides."""
    stage.board.wire.cut()


def dead_link(stage: Stage) -> None:
    """The connection carries nothing, and nobody is told; later it ends, or goes on."""
    stage.board.wire.go_dead()
    time.sleep(stage.rng.choice((0.5, 2.0, 9.0)))
    if stage.rng.random() < 0.5:
        stage.board.wire.cut()
    stage.board.wire.come_back()


def truncated(stage: Stage) -> None:
    """A file loses its end: in the agent's cache or ledgers, or a lease in its inbox."""
    home = stage.board.home
    mailbox = stage.mailboxes / stage.board.name
    found = [*(home / "cache").glob("*"), *(home / "spool").glob("*.ledger"), *(mailbox / "inbox").glob("lease-*")]
    found += [mailbox / "heartbeat.json", home / "starts"]
    path = stage.rng.choice(sorted(found))
    with contextlib.suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, 2)
        file.truncate(stage.rng.randrange(size) if size else 0)


def clock(stage: Stage) -> None:
    """The board's clock jumps, by seconds or by a day, forward or back."""
    ahead_s = stage.rng.choice((-86400.0, -3600.0, -5.0, 5.0, 3600.0, 86400.0))
    (stage.board.home / "ahead_s").write_text(f"{ahead_s}\n")
    time.sleep(stage.rng.uniform(0.5, 2.0))
    if stage.rng.random() < 0.5:
        (stage.board.home / "ahead_s").write_text("0\n")


def full_disk(stage: Stage) -> None:
    """No file can grow, on the board or on the service's machine."""
    victim = stage.board if stage.rng.random() < 0.7 else stage.broker
    victim.fill_disk(True)
    time.sleep(stage.rng.uniform(0.3, 1.5))
    victim.fill_disk(False)


def duplicate(stage: Stage) -> None:
    """A second agent: over the same home, where it must refuse to run, or over a copy of it, where it works."""
    if stage.rng.random() < 0.5:
        twin = stage.board.twin()
    else:
        twin = BoardProcess(stage.board.name, stage.board.home, wire=stage.board.wire)
    twin.start()
    time.sleep(stage.rng.uniform(1.0, 4.0))
    twin.kill()


def broker(stage: Stage) -> None:
    """The gateway dies, or is asked to end, and comes back on its port."""
    if stage.rng.random() < 0.7:
        stage.broker.kill()
    else:
        stage.broker.stop()
    time.sleep(stage.rng.uniform(0.0, 0.5))
    stage.broker.restart()
    time.sleep(stage.rng.uniform(0.0, 8.0))  # or nothing but starting would ever be injured


def broker_stop(stage: Stage) -> None:
    """The gateway stands still."""
    stage.broker.send(signal.SIGSTOP)
    time.sleep(stage.rng.uniform(0.3, 2.0))
    stage.broker.send(signal.SIGCONT)


# What takes longest to mend comes less often.
WEIGHTS = {"broker": 0.4}
FAULTS: dict[str, Callable[[Stage], None]] = {
    "kill": kill,
    "stop": stop,
    "cut": cut,
    "dead_link": dead_link,
    "truncated": truncated,
    "clock": clock,
    "full_disk": full_disk,
    "duplicate": duplicate,
    "broker": broker,
    "broker_stop": broker_stop,
}
