"""What a board's health before and after says about its figures, on generated board trees."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clocks import spin_ns
from edge_agent.health import read_health
from edge_agent.sensors.firmware import DEVICES
from edge_agent.throttling import ThrottleWatch
from edge_agent.verdict import Verdict, judge_health
from tests.edge_agent.boards import firmware_program, recorded, tree

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
ORIN = "jetson-orin-nano-jp6"
PI4 = "raspberry-pi-4-ina226"


def judged(
    root: Path, board: str, changes: dict[str, str], *, shared: bool = False, health: dict[str, Any] | None = None
) -> Verdict:
    """The verdict if `changes` are made to a board's files, or `health` to its values, during a measurement."""
    before = read_health(recorded(root, board))
    after = read_health(tree(root, changes))
    first = {name: pair[0] for name, pair in (health or {}).items()}
    second = {name: pair[1] for name, pair in (health or {}).items()}
    return judge_health({**before, **first}, {**after, **second}, shared=shared)


def test_a_board_that_stays_as_it_was_is_fine(tmp_path: Path) -> None:
    for board in (ORIN, PI4, "jetson-nano-jp4", "laptop", "server-acpi"):
        assert judged(tmp_path / board, board, {}) == Verdict(status="ok")


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("board", "changes", "cause"),
    [
        (PI4, {THROTTLED: "50000\n"}, "the firmware noted throttled, under_voltage during the measurement"),
        (PI4, {THROTTLED: "2\n"}, "the firmware reports arm_capped"),
        (PI4, {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, "the voltage monitor raised its under-voltage alarm"),
        (ORIN, {"sys/class/hwmon/hwmon3/oc3_event_cnt": "7\n"}, "oc3 (instantaneous over-current) counted 7 events"),
        (
            ORIN,
            {"sys/class/thermal/cooling_device1/cur_state": "2\n"},
            "cooling device thermal-cpufreq-0 is at 2: it slows the board to cool it",
        ),
    ],
)
def test_throttling_spoils_figures_on_every_machine(
    tmp_path: Path, board: str, changes: dict[str, str], cause: str, shared: bool
) -> None:
    verdict = judged(tmp_path, board, changes, shared=shared)
    assert verdict == Verdict(status="throttled", fault="board", cause=cause)


def test_a_fan_that_turns_faster_slows_nothing(tmp_path: Path) -> None:
    assert judged(tmp_path, ORIN, {"sys/class/thermal/cooling_device0/cur_state": "4\n"}).status == "ok"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"sys/devices/system/cpu/online": "0-3\n"}, "cores online changed from 0-5 to 0-3"),
        ({"var/lib/nvpmodel/status": "pmode:0002\n"}, "power mode changed from 0001 to 0002"),
        (
            {"sys/devices/system/cpu/cpu5/cpufreq/scaling_governor": "schedutil\n"},
            "governor changed from performance to performance, schedutil",
        ),
    ],
)
def test_a_board_that_became_another_is_rejected(tmp_path: Path, changes: dict[str, str], cause: str) -> None:
    verdict = judged(tmp_path, ORIN, changes)
    assert verdict == Verdict(status="throttled", fault="board", cause=f"{cause} during the measurement")


@pytest.mark.parametrize(
    ("health", "cause"),
    [
        (
            {"clock_measured_mhz": (2400, 1500)},
            "the firmware measured 1500 MHz after 2400 MHz although the clocks are held",
        ),
        ({"spin_ns": (10.0, 12.0)}, "a fixed loop took 20% longer than before although the clocks are held"),
        ({"clock_measured_mhz": (2400, 2390), "spin_ns": (10.0, 10.5)}, None),
        ({"clock_measured_mhz": (None, None), "spin_ns": (None, None)}, None),
    ],
)
def test_held_clocks_that_fall_as_measured_are_rejected(
    tmp_path: Path, health: dict[str, Any], cause: str | None
) -> None:
    verdict = judged(tmp_path, ORIN, {}, health=health)
    assert (verdict.status, verdict.cause) == ("throttled" if cause else "ok", cause)


def test_clocks_that_are_not_held_or_shared_may_change(tmp_path: Path) -> None:
    slower = {"spin_ns": (10.0, 20.0)}
    assert judged(tmp_path / "a", "laptop", {}, health=slower).status == "ok"
    assert judged(tmp_path / "b", ORIN, {}, health=slower, shared=True).status == "ok"


@pytest.mark.parametrize(
    ("health", "cause"),
    [
        ({"memory_stall_ms": (100.0, 900.0)}, "everything waited 800 ms for memory; close what else runs on the board"),
        ({"swapped_pages": (10, 2010)}, "2000 pages were swapped; close what else runs on the board"),
        ({"memory_stall_ms": (100.0, 200.0), "swapped_pages": (0, 900)}, None),
        ({"memory_stall_ms": (None, 900.0), "swapped_pages": (None, None)}, None),
    ],
)
def test_a_board_that_lacks_memory_is_noisy(tmp_path: Path, health: dict[str, Any], cause: str | None) -> None:
    verdict = judged(tmp_path, ORIN, {}, health=health)
    assert (verdict.status, verdict.cause) == ("noisy" if cause else "ok", cause)
    assert judged(tmp_path / "shared", ORIN, {}, health=health, shared=True).status == "ok"


def test_pressure_and_swapping_are_read(tmp_path: Path) -> None:
    pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1500\n"
    root = tree(tmp_path, {"proc/pressure/memory": pressure, "proc/vmstat": "pswpin 3\npswpout 4\noom_kill 0\n"})
    assert (read_health(root)["memory_stall_ms"], read_health(root)["swapped_pages"]) == (1.5, 7)


def test_a_jetsons_mode_and_clocks_are_read(tmp_path: Path) -> None:
    health = read_health(recorded(tmp_path, "jetson-thor-jp7"))
    assert health["gpu_clock_mhz"] == {"gpu-gpc-0": 1575, "gpu-nvd-0": 1692}
    assert (health["cores_online"], health["power_mode"]) == ("0-13", None)
    assert read_health(recorded(tmp_path / "orin", ORIN))["power_mode"] == "0001"


def test_the_firmware_is_asked_where_sysfs_does_not_tell(tmp_path: Path) -> None:
    root = recorded(tmp_path, "raspberry-pi-5")
    answers = {"get_throttled": "throttled=0x50004\n", "measure_clock arm": "frequency(48)=2400033792\n"}
    health = read_health(root, measure_clocks=True, vcgencmd=firmware_program(root / "bin", answers))
    assert health["throttled_now"] == ["throttled"]
    assert health["throttled_since_boot"] == ["under_voltage", "throttled"]
    assert health["clock_measured_mhz"] == 2400
    assert health["spin_ns"] > 0
    unheard = read_health(root, measure_clocks=True, vcgencmd=("/nowhere",))
    assert (unheard["throttled_now"], unheard["clock_measured_mhz"]) == (None, None)


def test_throttling_that_comes_and_goes_meanwhile_is_seen(tmp_path: Path) -> None:
    root = recorded(tmp_path, PI4)
    before = read_health(root)
    with ThrottleWatch(root, poll_s=0.01) as watch:
        tree(root, {THROTTLED: "4\n"})
        limit = time.monotonic() + 5
        while not watch.seen and time.monotonic() < limit:
            time.sleep(0.01)
        tree(root, {THROTTLED: "0\n"})
    after = {**read_health(root), "throttled_meanwhile": sorted(watch.seen)}
    assert judge_health(before, after, shared=True).cause == "the firmware reports throttled"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("thermal-devfreq-0", "cooling device thermal-devfreq-0 is at 3: it slows the board to cool it"),
        ("emc-throttle", "cooling device emc-throttle went from 0 to 3"),
        ("pwm-fan", None),
    ],
)
def test_a_cooling_device_that_acted_only_during_the_measurement_is_seen(
    tmp_path: Path, kind: str, cause: str | None
) -> None:
    device = "sys/class/thermal/cooling_device9"
    root = tree(recorded(tmp_path, ORIN), {f"{device}/type": f"{kind}\n", f"{device}/cur_state": "0\n"})
    assert not any((root / path).exists() for path in DEVICES)
    before = read_health(root)
    with ThrottleWatch(root, poll_s=0.005) as watch:
        tree(root, {f"{device}/cur_state": "3\n"})
        limit = time.monotonic() + (5 if cause else 0.1)
        while 3 not in watch.cooling.values() and time.monotonic() < limit:
            time.sleep(0.005)
        tree(root, {f"{device}/cur_state": "0\n"})
    after = {**read_health(root), "throttled_meanwhile": sorted(watch.seen), "cooling_meanwhile": watch.cooling}
    assert judge_health(before, after, shared=True).cause == cause


def test_a_board_that_keeps_what_happened_is_not_watched(tmp_path: Path) -> None:
    with ThrottleWatch(tmp_path, poll_s=0.001) as watch:
        time.sleep(0.01)
    assert (watch.seen, watch.cooling) == (set(), {})


def test_a_fixed_loop_is_timed_by_its_fastest_try() -> None:
    ticks = iter(range(0, 10**9, 20_000 * 7))
    assert spin_ns(clock=lambda: next(ticks)) == 7.0
