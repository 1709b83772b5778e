"""`nas-edge doctor` on energy and health: which sensor is used, why not the others, and what slows the board down."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from edge_agent.check import Check
from edge_agent.errors import BadUsageError
from edge_agent.health import read_health
from edge_agent.sensors.discovery import survey
from edge_agent.sensors.options import FILE_NAME, valid_calibration
from edge_agent.sensors.place import Place
from edge_agent.sensors.sampler import uncertainty_class
from edge_agent.sensors.sensor import EnergySensor, Passed

_SUPPLY_FIX = "use the board's own supply and a short, thick cable (Pi 4: 5.1 V 3 A, Pi 5: 5.1 V 5 A), then reboot"
_COOLING_FIX = "fit a heat sink and a fan, or clock the board lower, then reboot: sudo reboot"


def check_energy(home: Path, *, root: Path, today: datetime.date | None = None) -> Check:
    """Check whether energy can be measured; a board without a sensor is fine and says no energy.

    Args:
        home: The board's folder, which may hold energy.json.
        root: Above sys/, proc/ and dev/.
        today: The day on which a calibration is used.
    """
    try:
        place = Place(root=root, options=Place.of_home(home).options)
        found = survey(place)
    except BadUsageError as error:
        return Check(name="energy", state="fail", found=str(error), fix=f"nano {home / FILE_NAME}")
    others = "; ".join(f"{name}: {passed.why}" for name, passed in found.passed.items())
    if found.sensor is not None:
        return _check_calibration(found.sensor, others=others, today=today or datetime.date.today())
    if place.options.sensor == "none":
        return Check(name="energy", state="ok", found="no energy, as energy.json says")
    fix = _first_fix(found.passed)
    if any(passed.present for passed in found.passed.values()):
        fix = fix or f'echo \'{{"sensor": "none"}}\' > {home / FILE_NAME}   # no energy, until the cause is mended'
        return Check(name="energy", state="warn", found=f"a sensor is there but not used. Tried: {others}", fix=fix)
    said = f"no supported sensor; results will have no energy. Tried: {others}"
    return Check(name="energy", state="ok", found=said, fix=fix)


def check_throttling(root: Path) -> Iterator[Check]:
    """Check that nothing slows the board down or did since it was switched on; silent where nothing can be known."""
    health = read_health(root)
    now, since = health["throttled_now"], health["throttled_since_boot"]
    if now is None or since is None:
        return
    if not (now or since):
        yield Check(name="throttling", state="ok", found="none since boot")
        return
    fix = _SUPPLY_FIX if "under_voltage" in (*now, *since) else _COOLING_FIX
    found = f"now: {', '.join(now) or 'none'}; since boot: {', '.join(since) or 'none'}"
    yield Check(name="throttling", state="warn", found=found, fix=fix)


def _check_calibration(sensor: EnergySensor, *, others: str, today: datetime.date) -> Check:
    options = sensor.place.options
    calibration = valid_calibration(options, today=today)
    grade = uncertainty_class(calibration, external=sensor.external)
    found = f"{sensor.source} ({sensor.scope}): {sensor.rail}, {1 / sensor.interval_s:.0f} readings a second, "
    found += f"uncertainty class {grade}" + (f". Not used: {others}" if others else "")
    if options.calibration is not None and calibration is None:
        fix = "calibrate again as in docs/board.md, Energy, and write the new date to energy.json"
        return Check(name="energy", state="warn", found=f"{found}. The calibration is out of date", fix=fix)
    return Check(name="energy", state="ok", found=found)


def _first_fix(passed: dict[str, Passed]) -> str | None:
    ordered = sorted(passed.values(), key=lambda one: not one.present)
    return next((one.fix for one in ordered if one.fix), None)
