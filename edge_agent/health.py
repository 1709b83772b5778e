"""The board's state at a moment: temperatures, throttling, clocks, load, memory. What is unknown is None."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_BITS = {0: "under_voltage", 1: "arm_capped", 2: "throttled", 3: "soft_temperature_limit"}
_SKIPPED_ZONES = {"PMIC-Die", "PMIC"}
ROOT = Path("/")


def read_health(root: Path = ROOT) -> dict[str, Any]:
    """Return what the platform tells: temperatures in °C, clocks in MHz, memory in KiB, names of throttling causes."""
    return {
        "temperatures_c": temperatures_c(root),
        "throttled_now": throttled_now(root),
        "throttled_since_boot": _pi_bits(root, shift=16),
        "over_current_events": over_current_events(root),
        "cooling_states": cooling_states(root),
        "governors": sorted(set(_each(root, "scaling_governor"))),
        "clock_mhz": [int(value) // 1000 for value in _each(root, "scaling_cur_freq") if value.isdigit()],
        "load_1min": load_1min(root),
        "memory_available_kib": memory_available_kib(root),
        "swap_used_kib": swap_used_kib(root),
    }


def throttle_cause(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return why the board was throttled between two readings, None if nothing says that it was."""
    if now := sorted({*(before["throttled_now"] or ()), *(after["throttled_now"] or ())}):
        return f"the firmware reports {', '.join(now)}"
    if new := sorted(set(after["throttled_since_boot"] or ()) - set(before["throttled_since_boot"] or ())):
        return f"the firmware noted {', '.join(new)} during the measurement"
    for name, count in after["over_current_events"].items():
        if count > before["over_current_events"].get(name, count):
            return f"{name} counted {count - before['over_current_events'][name]} over-current or under-voltage events"
    return None


def temperatures_c(root: Path = ROOT) -> dict[str, float]:
    """Return the thermal zones that answer, in °C by their type; a zone that cannot be read is offline."""
    zones = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = _text(zone / "type"), _number(zone / "temp")
        if name and name not in _SKIPPED_ZONES and value is not None:
            zones[name if name not in zones else f"{name} {zone.name}"] = value / 1000
    return zones


def throttled_now(root: Path = ROOT) -> list[str] | None:
    """Return the throttling causes that act now, None where the platform does not tell (only a Raspberry Pi does)."""
    return _pi_bits(root, shift=0)


def over_current_events(root: Path = ROOT) -> dict[str, int]:
    """Return a Jetson's cumulative over-current and under-voltage counters by name; empty elsewhere."""
    counters = {}
    for monitor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(monitor / "name") == "soctherm_oc":
            for path in sorted(monitor.glob("oc*_event_cnt")):
                if (value := _number(path)) is not None:
                    counters[path.name.removesuffix("_event_cnt")] = value
    return counters


def cooling_states(root: Path = ROOT) -> dict[str, int]:
    """Return each cooling device's state by `device:type`; above 0 it cools, often by slowing something."""
    states = {}
    for device in sorted(root.glob("sys/class/thermal/cooling_device*")):
        if (state := _number(device / "cur_state")) is not None:
            states[f"{device.name}:{_text(device / 'type')}"] = state
    return states


def load_1min(root: Path = ROOT) -> float | None:
    """Return the load average over one minute."""
    text = _text(root / "proc/loadavg")
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


def oom_kill_count(root: Path = ROOT) -> int | None:
    """Return how many processes the kernel has killed for memory since boot, None where it does not count."""
    for line in (_text(root / "proc/vmstat") or "").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def _pi_bits(root: Path, *, shift: int) -> list[str] | None:
    text = _text(root / _PI_THROTTLED)
    if text is None:
        return None
    try:
        bits = int(text, 16) >> shift
    except ValueError:
        return None
    return [name for bit, name in _PI_BITS.items() if bits >> bit & 1]


def _each(root: Path, name: str) -> list[str]:
    paths = sorted(root.glob(f"sys/devices/system/cpu/cpu[0-9]*/cpufreq/{name}"))
    return [text for path in paths if (text := _text(path)) is not None]


def _meminfo(root: Path) -> dict[str, int]:
    pairs = (line.split(":", 1) for line in (_text(root / "proc/meminfo") or "").splitlines() if ":" in line)
    return {name: int(value.split()[0]) for name, value in pairs}


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None
