"""OpenSSH's own `sftp`, with the key of the service's board, against the service's gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.home import Home as BoardHome
from edge_agent.records import Artifact, Lease, stable_hash
from nas_service.measurement import MeasurementRequest, RequestStatus
from tests.cluster.gateway.processes import wait_for
from tests.cluster.live import BOARD, BOARD_CLASS, LiveService
from tests.edge_agent.models import little_model

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.ssh]


@pytest.fixture(scope="module")
def work(live: LiveService) -> Iterator[tuple[str, bytes]]:
    """A lease that waits for the board, whose agent is paused: the graph's SHA-256 and its bytes."""
    wait_for("an idle board", lambda: not live.board_measures())
    os.kill(live.board_pid, signal.SIGSTOP)
    data = little_model(size=12)
    sha256 = live.store.files.put(data)
    request = MeasurementRequest(
        structure_key=stable_hash("what the stock client looks at"),
        board_class=BOARD_CLASS,
        tier="probe",
        half="little",
        model=Artifact(sha256=sha256, size_bytes=len(data)),
    )
    live.store.fleet.request([request], now=time.time())
    key = request.measurement_key
    wait_for("a lease", lambda: live.store.fleet.states([key])[key].state is RequestStatus.LEASED)
    try:
        yield sha256, data
    finally:
        os.kill(live.board_pid, signal.SIGCONT)


@pytest.fixture
def sftp(live: LiveService, tmp_path: Path):
    """Run a batch of `sftp` commands as the board; the host key is the one that the agent pinned."""

    def run(*commands: str, user: str = BOARD) -> subprocess.CompletedProcess[str]:
        board = BoardHome(live.board_home)
        known, batch = tmp_path / "known_hosts", tmp_path / "batch"
        known.write_text(f"[127.0.0.1]:{live.state.gateway_port} {board.host_key_path.read_text().strip()}\n")
        batch.write_text("\n".join(commands) + "\n")
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "IdentitiesOnly=yes")
        command = ["sftp", "-q", "-F", "none", "-i", str(board.key_path), "-P", str(live.state.gateway_port)]
        for option in options:
            command += ["-o", option]
        return subprocess.run(
            [*command, "-b", str(batch), f"{user}@127.0.0.1"],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        )  # fmt: skip

    return run


def test_the_board_lists_its_inbox_and_reads_what_it_is_to_measure(sftp, work, tmp_path):
    done = sftp("ls -1 /inbox")
    assert done.returncode == 0, done.stderr
    [name] = [word for word in done.stdout.split() if word.endswith(".json") and "/ack-" not in word]
    assert sftp(f"get {name} lease.json").returncode == 0
    lease = Lease.from_json((tmp_path / "lease.json").read_bytes())
    assert (lease.board, lease.model.sha256) == (BOARD, work[0])


def test_the_board_fetches_an_artefact_whole(sftp, work, tmp_path):
    sha256, data = work
    done = sftp(f"get /artifacts/{sha256} got")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got").read_bytes() == data


def test_the_board_writes_nothing_where_only_the_gateway_may(sftp, tmp_path):
    (tmp_path / "evil").write_text("evil")
    for target in ("/artifacts/evil", "/inbox/evil.json", "/../evil"):
        assert sftp(f"put evil {target}").returncode != 0


def test_the_key_opens_no_other_boards_mailbox(sftp):
    done = sftp("ls /inbox", user="another-board")
    assert (done.returncode, done.stdout) == (255, "")  # no connection at all
