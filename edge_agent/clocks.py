"""How fast the board runs: what it says, and what it does. A Pi's firmware slows down without the governor knowing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.sensors.firmware import is_raspberry_pi, open_firmware
from edge_agent.sensors.reading import number_of, text_of
from edge_agent.sensors.sensor import SensorError

_SPIN_ROUNDS = 20
_SPIN_STEPS = 20_000
HELD = {"performance", "userspace"}


def governors(root: Path) -> list[str]:
    """Return the kinds of governor in use."""
    return sorted({text for path in _cpus(root, "scaling_governor") if (text := text_of(path))})


def cpu_clock_mhz(root: Path) -> list[int]:
    """Return each core's clock as the kernel believes it to be, in MHz."""
    return [value // 1000 for path in _cpus(root, "scaling_cur_freq") if (value := number_of(path)) is not None]


def gpu_clock_mhz(root: Path) -> dict[str, int]:
    """Return the clocks of a Jetson's GPU by devfreq name, in MHz; empty elsewhere."""
    clocks = {}
    for device in sorted(root.glob("sys/class/devfreq/*")):
        if "gpu" in device.name or "gpc" in device.name:
            if (value := number_of(device / "cur_freq")) is not None:
                clocks[device.name] = value // 1_000_000
    return clocks


def cores_online(root: Path) -> str | None:
    """Return which cores run, such as `0-3`; heat and power modes switch some off."""
    return text_of(root / "sys/devices/system/cpu/online")


def power_mode(root: Path) -> str | None:
    """Return a Jetson's power mode (`nvpmodel`) or a PC's platform profile; None where there is no such thing."""
    if status := text_of(root / "var/lib/nvpmodel/status"):
        return status.removeprefix("pmode:")
    return text_of(root / "sys/firmware/acpi/platform_profile")


def clocks_held(root: Path) -> bool:
    """Return whether nothing scales clocks while we measure: a fixed governor, or equal limits, as jetson_clocks sets.

    A GPU's clocks must be held as well where there is one.
    """
    lowest, highest = _limits(root, "min"), _limits(root, "max")
    cpu_held = set(governors(root)) <= HELD or (bool(lowest) and lowest == highest)
    gpus = [device for device in root.glob("sys/class/devfreq/*") if "gpu" in device.name or "gpc" in device.name]
    return cpu_held and all(number_of(gpu / "min_freq") == number_of(gpu / "max_freq") for gpu in gpus)


def firmware_clock_mhz(root: Path, *, vcgencmd: tuple[str, ...]) -> int | None:
    """Return the cores' clock as a Raspberry Pi's firmware counts it, in MHz; None elsewhere."""
    if not is_raspberry_pi(root):
        return None
    try:
        firmware = open_firmware(root, vcgencmd=vcgencmd)
        answer = firmware.ask("measure_clock arm")
        firmware.close()
        return round(int(answer.partition("=")[2]) / 1e6)
    except (SensorError, ValueError):
        return None


def spin_ns(*, clock: Callable[[], int] = time.perf_counter_ns) -> float:
    """Return how long a step of a fixed loop takes on the first core that we may use, in ns: the least of 20 tries."""
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        return min(_spin(clock) for _ in range(_SPIN_ROUNDS)) / _SPIN_STEPS
    finally:
        os.sched_setaffinity(0, cores)


def _spin(clock: Callable[[], int]) -> int:
    begin = clock()
    for _ in range(_SPIN_STEPS):
        pass
    return clock() - begin


def _limits(root: Path, which: str) -> list[int | None]:
    return [number_of(path) for path in _cpus(root, f"scaling_{which}_freq")]


def _cpus(root: Path, name: str) -> list[Path]:
    return sorted(root.glob(f"sys/devices/system/cpu/cpu[0-9]*/cpufreq/{name}"))
