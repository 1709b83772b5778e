"""The board's state at a moment: temperatures, throttling, clocks, load, memory. What is unknown is None."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_agent import clocks, throttling
from edge_agent.sensors.reading import number_of, text_of

_SKIPPED_ZONES = {"PMIC-Die", "PMIC"}
ROOT = Path("/")


def read_health(
    root: Path = ROOT, *, measure_clocks: bool = False, vcgencmd: tuple[str, ...] = throttling.VCGENCMD
) -> dict[str, Any]:
    """Return what the platform tells: temperatures in °C, clocks in MHz, memory in KiB, names of throttling causes.

    Args:
        root: Above sys/ and proc/.
        measure_clocks: Whether to find out how fast the cores really run, which takes about 10 ms of one of them.
        vcgencmd: The command that asks a Raspberry Pi's firmware where neither sysfs nor the mailbox tell.
    """
    bits = throttling.pi_bits(root, vcgencmd=vcgencmd)
    return {
        "temperatures_c": temperatures_c(root),
        "throttled_now": throttling.names_now(bits),
        "throttled_since_boot": throttling.names_since_boot(bits),
        "under_voltage_alarm": throttling.under_voltage_alarm(root),
        "over_current_events": throttling.over_current_events(root),
        "cooling_states": throttling.cooling_states(root),
        "governors": clocks.governors(root),
        "power_mode": clocks.power_mode(root),
        "cores_online": clocks.cores_online(root),
        "clock_mhz": clocks.cpu_clock_mhz(root),
        "gpu_clock_mhz": clocks.gpu_clock_mhz(root),
        "clock_measured_mhz": clocks.firmware_clock_mhz(root, vcgencmd=vcgencmd) if measure_clocks else None,
        "spin_ns": clocks.spin_ns() if measure_clocks else None,
        "load_1min": load_1min(root),
        "memory_available_kib": memory_available_kib(root),
        "memory_stall_ms": memory_stall_ms(root),
        "swap_used_kib": swap_used_kib(root),
        "swapped_pages": swapped_pages(root),
    }


def temperatures_c(root: Path = ROOT) -> dict[str, float]:
    """Return the thermal zones that answer, in °C by their type; a zone that cannot be read is offline."""
    zones = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = text_of(zone / "type"), number_of(zone / "temp")
        if name and name not in _SKIPPED_ZONES and value is not None:
            zones[name if name not in zones else f"{name} {zone.name}"] = value / 1000
    return zones


def load_1min(root: Path = ROOT) -> float | None:
    """Return the load average over one minute."""
    text = text_of(root / "proc/loadavg")
    return float(text.split()[0]) if text else None


def memory_available_kib(root: Path = ROOT) -> int | None:
    """Return the memory that can be had without swapping, in KiB."""
    return _meminfo(root).get("MemAvailable")


def swap_used_kib(root: Path = ROOT) -> int | None:
    """Return the swap in use, in KiB."""
    memory = _meminfo(root)
    if "SwapTotal" not in memory or "SwapFree" not in memory:
        return None
    return memory["SwapTotal"] - memory["SwapFree"]


def swapped_pages(root: Path = ROOT) -> int | None:
    """Return how many pages were swapped in and out since boot."""
    counts = [_vmstat(root, name) for name in ("pswpin", "pswpout")]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == 2 else None


def memory_stall_ms(root: Path = ROOT) -> float | None:
    """Return how long all tasks at once have waited for memory since boot (PSI), None without that accounting."""
    for line in (text_of(root / "proc/pressure/memory") or "").splitlines():
        if line.startswith("full ") and (total := line.rpartition("total=")[2]).isdigit():
            return int(total) / 1e3
    return None


def oom_kill_count(root: Path = ROOT) -> int | None:
    """Return how many processes the kernel has killed for memory since boot, None where it does not count."""
    return _vmstat(root, "oom_kill")


def _vmstat(root: Path, name: str) -> int | None:
    for line in (text_of(root / "proc/vmstat") or "").splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return None


def _meminfo(root: Path) -> dict[str, int]:
    pairs = (line.split(":", 1) for line in (text_of(root / "proc/meminfo") or "").splitlines() if ":" in line)
    return {name: int(value.split()[0]) for name, value in pairs}
