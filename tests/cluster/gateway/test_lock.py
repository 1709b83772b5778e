from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.gateway.gateway import Gateway
from cluster.gateway.lock import GatewayLock
from nas_service.errors import ConflictError
from nas_service.home import Home
from nas_service.store import Store

HOLD = """
import sys, time
from pathlib import Path
from cluster.gateway.lock import GatewayLock
GatewayLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = GatewayLock(tmp_path / "lock"), GatewayLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(ConflictError, match=r"another gateway runs over .*; end it first \(nas down\)"):
        second.acquire(retry_s=0.0)
    first.release()
    second.acquire(retry_s=0.0)
    second.release()


def test_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
    lock = GatewayLock(tmp_path / "lock")
    lock.acquire(retry_s=0.0)
    lock.release()


@pytest.mark.ssh
def test_second_gateway_over_one_home_does_not_start(home: Home, store: Store) -> None:
    with Gateway(home, store):
        with pytest.raises(ConflictError, match="another gateway runs"):
            Gateway(home, store, start_timeout_s=0.1).start()
    with Gateway(home, store) as third:
        assert third.status().port > 0
