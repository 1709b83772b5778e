"""A real gateway process, killed without warning again and again while boards hand in results."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from nas_service.measurement import RequestStatus
from nas_service.twins import twin_key
from tests.cluster.gateway.paper_board import PaperBoard
from tests.cluster.gateway.processes import GatewayProcess, Service, wait_for
from tests.cluster.gateway.samples import wanted
from tests.nas_service.store.test_fleet import KEY_1, KEY_2

KILLS = int(os.environ.get("NAS_TEST_KILLS", "4"))
REQUESTS = 30


def enrol(service: Service, process: GatewayProcess, name: str, key: str) -> PaperBoard:
    token = service.store.fleet.create_enrolment(name, board_class="rpi5", ttl_s=60.0, now=time.time())
    service.store.fleet.redeem(token, public_key=key, fingerprint={"model": "pi"}, now=time.time())
    wait_for("the mailbox", lambda: (process.mailbox / name / "agent.json").exists())
    return PaperBoard(process.mailbox / name)


@pytest.mark.slow
def test_killed_process_loses_no_result_and_counts_none_twice(
    gateway_process: GatewayProcess, service: Service
) -> None:
    rng = random.Random(0)
    gateway_process.start()
    boards = [enrol(service, gateway_process, name, key) for name, key in (("pi-1", KEY_1), ("pi-2", KEY_2))]
    sha = service.store.files.put(b"onnx")
    requests = [wanted(sha, name=f"n{i}") for i in range(REQUESTS)]
    service.store.fleet.request(requests, now=time.time())
    keys = [r.measurement_key for r in requests]
    over = threading.Event()
    threads = [
        threading.Thread(target=board.live, args=(over.is_set,), kwargs={"rng": random.Random(n)})
        for n, board in enumerate(boards)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.02, 0.4))
            gateway_process.kill()
            gateway_process.start()
        states = service.store.fleet.states
        wait_for("the end", lambda: all(s.is_final for s in states(keys).values()), timeout_s=60)
        wait_for("the acknowledgements", lambda: not any(board.spool for board in boards))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert {s.state for s in service.store.fleet.states(keys).values()} == {RequestStatus.DONE}
    measured = service.store.fleet.measurements()
    counted = [m.result.measurement_key for m in measured if not m.late]
    assert sorted(key for key in counted if key in keys) == sorted(keys)
    assert len(set(counted)) == len(counted)
    assert set(counted) - set(keys) <= {twin_key(key) for key in keys}
    assert all(word.stored for board in boards for word in board.acknowledged.values())
