"""Benchmarks of the boards' gateway: how many boards it bears, and how fast an artefact is pulled from it.

The gateway is a process of its own, and so are the simulated boards; both share the machine's cores with each other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import numpy as np

from cluster.benchmarks.row import Row
from cluster.gateway.host_key import ensure_host_key, public_line
from edge_agent.cache import ArtifactCache
from edge_agent.link import Server, open_link
from edge_agent.mailbox import SftpMailbox
from edge_agent.records import Artifact, Heartbeat, stable_hash
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.measurement import MeasurementRequest, RequestStatus
from nas_service.store import Store

FLEETS = (200, 500)
WAVES = 3
WORK_S = 4.0
PULL_BYTES = 20 << 20
PULLS = 5
BOARD_CLASS = "bench"


def fleet_size() -> list[Row]:
    """E5: the time from a lease written to the same lease read, for fleets that are all idle when the leases come."""
    rows = []
    for boards, aim in zip(FLEETS, (None, 3.0), strict=True):
        waits = _waits_s(boards)
        p50, p99 = np.percentile(waits, [50, 99])
        detail = f"{len(waits)} leases in {WAVES} waves to idle boards; median {p50:.2f} s; one gateway, one simulator"
        figure = f"p99 from lease written to lease read, {boards} boards, s"
        rows.append(Row(name="E5", figure=figure, value=float(p99), must=4.0, aim=aim, detail=detail))
    return rows


def pull_speed() -> list[Row]:
    """E10: speed of the agent's pull of 20 MiB over OpenSSH `sftp`'s, connecting included, from the same gateway."""
    if shutil.which("sftp") is None:
        raise NasError("OpenSSH's sftp is not installed; run: apt-get install openssh-client")
    with service(1) as (home, store, port, keys):
        sha256 = store.files.put(os.urandom(PULL_BYTES))
        artifact = Artifact(sha256=sha256, size_bytes=PULL_BYTES)
        [key] = keys.iterdir()
        line = public_line(ensure_host_key(home.gateway / "host_key"))
        _lease(store, [_request(0, artifact)], mailbox=home.boards / key.name)
        times = [
            (_our_pull_s(artifact, key, line, port), _sftp_pull_s(artifact, key, line, port)) for _ in range(PULLS)
        ]
    ours, peer = (min(column) for column in zip(*times, strict=True))
    speeds = ", ".join(f"{PULL_BYTES / 2**20 / seconds:.0f} MiB/s" for seconds in (ours, peer))
    detail = f"least of {PULLS} pulls each, in turn, SHA-256 checked by ours only: {speeds}"
    figure = "pull of 20 MiB / OpenSSH sftp, speed"
    return [Row(name="E10", figure=figure, value=peer / ours, must=0.6, aim=0.9, least=True, detail=detail)]


def _waits_s(count: int) -> list[float]:
    with service(count) as (home, store, port, keys):
        words = ["-m", "cluster.benchmarks.simulated_boards", str(keys), str(home.boards), str(port), str(WORK_S)]
        fleet = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert fleet.stdout is not None
        try:
            if json.loads(fleet.stdout.readline() or "{}").get("connected") != count:
                raise NasError(f"{count} boards could not connect; look at the messages above")
            artifact = Artifact(sha256=store.files.put(b"onnx"), size_bytes=4)
            for wave in range(WAVES):
                time.sleep(5.0)  # the last wave's files are cleared away
                _ask_and_wait(store, [_request(wave * count + number, artifact) for number in range(count)])
                _wait_until_idle(store)
            said = json.loads(fleet.communicate("", timeout=60)[0])
        finally:
            fleet.kill()
            fleet.wait()
    if said["failed"]:
        raise NasError(f"{said['failed']} of {count} boards lost their connection; run it again on an idle machine")
    return [float(wait) for wait in said["waits_s"]]


def _wait_until_idle(store: Store, *, timeout_s: float = 60.0) -> None:
    """Wait for the twins too, which one measurement in twenty has and nobody asked for: a board at work reads late."""
    give_up_at = time.monotonic() + timeout_s
    while store.fleet.leases.queued() or store.fleet.leases.standing():
        if time.monotonic() > give_up_at:
            raise NasError(f"boards were still at work {timeout_s:g} s after all answers had come")
        time.sleep(0.5)


def _request(number: int, artifact: Artifact) -> MeasurementRequest:
    return MeasurementRequest(
        structure_key=stable_hash(number), board_class=BOARD_CLASS, tier="probe", half="little", model=artifact
    )


def _ask_and_wait(store: Store, requests: list[MeasurementRequest], *, timeout_s: float = 300.0) -> None:
    store.fleet.request(requests, now=time.time())
    keys, give_up_at = [request.measurement_key for request in requests], time.monotonic() + timeout_s
    while any(state.state is not RequestStatus.DONE for state in store.fleet.states(keys).values()):
        if time.monotonic() > give_up_at:
            raise NasError(f"{len(keys)} requests were not answered within {timeout_s:g} s")
        time.sleep(0.5)


def _lease(store: Store, requests: list[MeasurementRequest], *, mailbox: Path) -> None:
    """Let the board of `mailbox` hold a lease, so that its artefact lies there."""
    beat = Heartbeat(board=mailbox.name, incarnation="i", state="idle", sent_unix_s=time.time(), agent_version="bench")
    store.fleet.heartbeats([(beat, time.time())])
    store.fleet.request(requests, now=time.time())
    give_up_at = time.monotonic() + 30.0
    while not (mailbox / "artifacts" / requests[0].model.sha256).exists():
        if time.monotonic() > give_up_at:
            raise NasError("the gateway granted no lease within 30 s")
        time.sleep(0.05)


def _our_pull_s(artifact: Artifact, key: Path, host_key_line: str, port: int) -> float:
    server = Server.pinned(host="127.0.0.1", port=port, host_key_line=host_key_line)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        mailbox = SftpMailbox(open_link(server, user=key.name, key_path=key), cache=ArtifactCache(Path(folder)))
        try:
            mailbox.fetch_artifact(artifact)
        finally:
            mailbox.close()
        return time.perf_counter() - begun


def _sftp_pull_s(artifact: Artifact, key: Path, host_key_line: str, port: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known"
        known.write_text(f"[127.0.0.1]:{port} {host_key_line}\n")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        source = f"{key.name}@127.0.0.1:/artifacts/{artifact.sha256}"
        begun = time.perf_counter()
        done = subprocess.run(
            ["sftp", "-q", "-F", "none", *options, "-i", str(key), "-P", str(port), source, f"{folder}/got"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        if done.returncode or (Path(folder) / "got").stat().st_size != artifact.size_bytes:
            raise NasError(f"OpenSSH's sftp did not fetch the file: {done.stderr.strip()}")
        return seconds


@contextmanager
def service(boards: int) -> Iterator[tuple[Home, Store, int, Path]]:
    """Yield home, store, port and the folder of keys of a gateway process with so many enrolled boards."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as scratch:
        home, keys = Home(Path(scratch) / "nas").create(), Path(scratch) / "keys"
        keys.mkdir()
        with Store.open(home) as store:
            for number in range(boards):
                _enrol(store, keys / f"board-{number}")
            log = (Path(scratch) / "gateway.log").open("wb")
            gateway = subprocess.Popen(
                [sys.executable, "-m", "cluster.gateway", "--home", str(home.root)], stdout=subprocess.PIPE, stderr=log
            )
            assert gateway.stdout is not None
            try:
                line = gateway.stdout.readline()
                if not line:
                    raise NasError(f"the gateway did not start: {(Path(scratch) / 'gateway.log').read_text()[-500:]}")
                yield home, store, int(json.loads(line)["port"]), keys
            finally:
                gateway.terminate()
                gateway.wait(timeout=30)
                gateway.stdout.close()
                log.close()


def _enrol(store: Store, path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    token = store.fleet.create_enrolment(path.name, board_class=BOARD_CLASS, ttl_s=60.0, now=time.time())
    store.fleet.redeem(token, public_key=public_line(key), fingerprint={}, now=time.time())
