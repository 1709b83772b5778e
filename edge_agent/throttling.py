"""What slows a board down by itself: a Raspberry Pi's firmware, a Jetson's over-current events, cooling devices."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_agent.sensors.firmware import DEVICES, is_raspberry_pi, open_firmware
from edge_agent.sensors.reading import number_of, text_of
from edge_agent.sensors.sensor import SensorError

VCGENCMD = ("vcgencmd",)
_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_BITS = {0: "under_voltage", 1: "arm_capped", 2: "throttled", 3: "soft_temperature_limit"}
_STICKY = 16
_OC_KINDS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "instantaneous over-current"}
_SLOWING = ("thermal-cpufreq", "thermal-devfreq", "cpufreq-", "devfreq-", "Processor")
_POLL_S = 0.5


def pi_bits(root: Path, *, vcgencmd: tuple[str, ...] = VCGENCMD) -> int | None:
    """Return the bits of get_throttled, from sysfs or else the firmware; None if this is no Pi or it does not say."""
    text = text_of(root / _PI_THROTTLED)
    if text is None and is_raspberry_pi(root):
        try:
            firmware = open_firmware(root, vcgencmd=vcgencmd)
            text = firmware.ask("get_throttled").strip().removeprefix("throttled=")
            firmware.close()
        except SensorError:
            return None
    try:
        return None if text is None else int(text, 16)
    except ValueError:
        return None


def names_now(bits: int | None) -> list[str] | None:
    """Return the causes that act now, None where the platform does not tell (only a Raspberry Pi does)."""
    return None if bits is None else [name for bit, name in _PI_BITS.items() if bits >> bit & 1]


def names_since_boot(bits: int | None) -> list[str] | None:
    """Return the causes that acted at any time since boot, None where the platform does not tell."""
    return None if bits is None else names_now(bits >> _STICKY)


def over_current_events(root: Path) -> dict[str, int]:
    """Return a Jetson's cumulative over-current and under-voltage counters by name; empty elsewhere."""
    counters = {}
    for monitor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text_of(monitor / "name") == "soctherm_oc":
            for path in sorted(monitor.glob("oc*_event_cnt")):
                if (value := number_of(path)) is not None:
                    counters[path.name.removesuffix("_event_cnt")] = value
    return counters


def under_voltage_alarm(root: Path) -> bool | None:
    """Return whether a Raspberry Pi's voltage monitor raises its alarm, None where there is none."""
    for monitor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text_of(monitor / "name") == "rpi_volt":
            value = number_of(monitor / "in0_lcrit_alarm")
            return None if value is None else value != 0
    return None


def cooling_states(root: Path) -> dict[str, int]:
    """Return each cooling device's state by `device:type`; above 0 it cools, often by slowing something."""
    found = {name: number_of(path) for name, path in _coolers(root).items()}
    return {name: state for name, state in found.items() if state is not None}


def _coolers(root: Path) -> dict[str, Path]:
    devices = sorted(root.glob("sys/class/thermal/cooling_device*"))
    return {f"{device.name}:{text_of(device / 'type')}": device / "cur_state" for device in devices}


def throttle_cause(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return why the board was throttled between two readings of its health, None if nothing says that it was."""
    now = {*(before["throttled_now"] or ()), *(after["throttled_now"] or ()), *after.get("throttled_meanwhile", ())}
    if now:
        return f"the firmware reports {', '.join(sorted(now))}"
    if new := sorted(set(after["throttled_since_boot"] or ()) - set(before["throttled_since_boot"] or ())):
        return f"the firmware noted {', '.join(new)} during the measurement"
    if before["under_voltage_alarm"] or after["under_voltage_alarm"]:
        return "the voltage monitor raised its under-voltage alarm"
    for name, count in after["over_current_events"].items():
        if (new_events := count - before["over_current_events"].get(name, count)) > 0:
            return f"{name} ({_OC_KINDS.get(name, 'over-current')}) counted {new_events} events"
    states, meanwhile = after["cooling_states"], after.get("cooling_meanwhile", {})
    most = {name: max(state, meanwhile.get(name, state)) for name, state in states.items()}
    return _cooling_cause(before["cooling_states"], meanwhile | most)


def _cooling_cause(before: dict[str, int], most: dict[str, int]) -> str | None:
    """Return what slowed something to cool it, by the highest states since; a fan slows nothing."""
    for name, state in most.items():
        kind, was = name.partition(":")[2], before.get(name, state)
        if kind.startswith(_SLOWING) and max(was, state) > 0:
            return f"cooling device {kind} is at {max(was, state)}: it slows the board to cool it"
        if "fan" not in kind.lower() and state > was:
            return f"cooling device {kind} went from {was} to {state}"
    return None


class ThrottleWatch:
    """Looks twice a second at what leaves no trace: a Raspberry Pi's bits, and cooling devices other than fans.

    A sticky bit may have been set before, and a cooling device may be at rest again at the end. Counters keep what
    happened and are not looked at; neither is a Pi where only the program vcgencmd would answer, which costs a process
    each time.
    """

    def __init__(self, root: Path, *, poll_s: float = _POLL_S) -> None:
        """Take the root above sys/; nothing runs yet."""
        self.seen: set[str] = set()
        self.cooling: dict[str, int] = {}
        self._root, self._poll_s = root, poll_s
        self._tells_bits = any((root / path).exists() for path in (_PI_THROTTLED, *DEVICES))
        self._coolers = {name: path for name, path in _coolers(root).items() if "fan" not in name.lower()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="throttle-watch", daemon=True)

    def __enter__(self) -> ThrottleWatch:
        """Begin to look, if this board tells."""
        if self._tells_bits or self._coolers:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            if self._tells_bits:
                self.seen.update(names_now(pi_bits(self._root)) or ())
            for name, path in self._coolers.items():
                if (state := number_of(path)) is not None:
                    self.cooling[name] = max(state, self.cooling.get(name, state))
