from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from cluster.port_turn import port_turn
from nas_service.errors import NasError

HOLDER = """
import time
from cluster.port_turn import port_turn
with port_turn():
    print("mine", flush=True)
    time.sleep(60)
"""


def test_the_second_waits_until_the_first_listens():
    order: list[str] = []

    def second() -> None:
        with port_turn(timeout_s=10):
            order.append("second")

    with port_turn():
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.5)
        order.append("first listens")
    waiting.join(10)
    assert order == ["first listens", "second"]


def test_one_that_waits_too_long_is_told_why():
    with port_turn(), pytest.raises(NasError, match="another service has been starting"), port_turn(timeout_s=0):
        pass


def test_a_killed_process_gives_its_turn_back():
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"mine\n"
    holder.kill()
    with port_turn(timeout_s=5):
        pass
    holder.wait(5)
    holder.stdout.close()
