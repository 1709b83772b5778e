"""External meters as plug-ins: a program that prints one reading a line, for as long as it runs.

A line is `power_mw 4512.5` (the mean since the line before) or `energy_mj 123456.7` (a total that never falls); all
lines of a run are of one kind. The program is started when sampling begins and killed when it ends. In energy.json:

    {"command": ["/usr/local/bin/my-meter", "--stream"], "scope": "wall", "interval_s": 1.0}

A reading's time is that of its line's arrival, so print each at once, unbuffered.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import time

from edge_agent.records import EnergyScope
from edge_agent.sensors.integrate import counter_mj, trapezoid_mj
from edge_agent.sensors.place import Place
from edge_agent.sensors.reading import kind_of
from edge_agent.sensors.sensor import EnergySensor, Passed, Sample, SensorError

DEFAULT_SCOPE: EnergyScope = "wall"
_KINDS = {"power_mw": 0, "energy_mj": 1}
_MAX_UJ = 1 << 62
_FIRST_LINE_S = 5.0
_MAX_LINE_BYTES = 200


class CommandMeter:
    """A program's readings, in µW or µJ, each with its kind."""

    source = "command"
    external = True
    counts = False

    def __init__(self, place: Place) -> None:
        """Take the program, its scope and its pace from the place's options."""
        options = place.options
        self.place, self.scope, self.interval_s = place, options.scope or DEFAULT_SCOPE, options.interval_s
        self.rail = os.path.basename(options.command[0])
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def read(self) -> tuple[int, ...]:
        """Return the newest reading's kind and value, waiting for one; raise SensorError if there is none in time."""
        patience_s = 5 * self.interval_s
        if self._process is None:
            self._start()
            patience_s += _FIRST_LINE_S
        return parse(self._newest_line(patience_s))

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ; None if a total fell or the kinds are mixed."""
        times, kinds = [sample.time_ns for sample in samples], {sample.values[0] for sample in samples}
        values = [sample.values[1] for sample in samples]
        if kinds == {_KINDS["power_mw"]}:
            return trapezoid_mj(times, [value / 1e3 for value in values], start_ns=start_ns, end_ns=end_ns)
        if kinds != {_KINDS["energy_mj"]} or values != sorted(values):
            return None
        rows = [(value,) for value in values]
        return counter_mj(times, rows, ranges_uj=[_MAX_UJ], start_ns=start_ns, end_ns=end_ns)

    def close(self) -> None:
        """Kill the program and what it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process, self._rest = None, b""

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                self.place.options.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise SensorError(kind_of(error), f"{self.place.options.command[0]}: {error.strerror}") from None

    def _newest_line(self, patience_s: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + patience_s
        while b"\n" not in self._rest or self._is_readable(0.0):
            if not self._is_readable(max(0.0, end - time.monotonic())):
                raise SensorError("failing", f"{self.rail} printed no reading for {patience_s:g} s")
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                self.close()
                raise SensorError("vanished", f"{self.rail} ended")
            self._rest += data
            if len(self._rest.rpartition(b"\n")[2]) > _MAX_LINE_BYTES:
                self.close()
                raise SensorError("not_a_number", f"{self.rail} printed a line of over {_MAX_LINE_BYTES} bytes")
        lines, _, self._rest = self._rest.rpartition(b"\n")
        return lines.rpartition(b"\n")[2]

    def _is_readable(self, timeout_s: float) -> bool:
        assert self._process is not None
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], timeout_s)[0])


def find_command_meter(place: Place) -> EnergySensor | Passed:
    """Return the meter that energy.json names, if its program answers."""
    if not place.options.command:
        return Passed(why="no energy.json names a meter's program (how: docs/board.md, energy.json)")
    meter = CommandMeter(place)
    try:
        meter.read()
    except SensorError as error:
        fix = f"run it by hand: {' '.join(place.options.command)}   # it must print lines such as: power_mw 4512.5"
        return Passed(why=str(error), present=True, fix=fix)
    finally:
        meter.close()
    return meter


def parse(line: bytes) -> tuple[int, int]:
    """Return a line's kind and value in µW or µJ; raise SensorError if it is no reading."""
    words = line.decode(errors="replace").split()
    with contextlib.suppress(ValueError):
        if len(words) == 2 and words[0] in _KINDS and 0 <= (value := float(words[1])) < math.inf:
            return _KINDS[words[0]], round(value * 1e3)
    text = " ".join(words)[:60]
    raise SensorError("not_a_number", f"a reading is {text!r} but must be `power_mw NUMBER` or `energy_mj NUMBER`")
