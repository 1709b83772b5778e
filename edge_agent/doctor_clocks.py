"""`nas-edge doctor` on what sets the pace: the governor, and a Jetson's system, power mode and clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_agent.check import Check
from edge_agent.clocks import clocks_held, cores_online, governors, power_mode
from edge_agent.fingerprint import board_model
from edge_agent.sensors.reading import text_of

GOVERNOR_FIX = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
CLOCKS_FIX = "sudo nvpmodel -m 0 && sudo jetson_clocks   # after each boot; `nvpmodel -p --verbose` lists the modes"
MODE_FIX = (
    "sudo nvpmodel -m 0; sudo chmod o+rx /var/lib/nvpmodel && sudo chmod o+r /var/lib/nvpmodel/status"
    "   # in a container: docker run ... -v /var/lib/nvpmodel:/var/lib/nvpmodel:ro"
)
_SENSOR_FIX = (
    "docker run ... -v /sys/bus/i2c:/sys/bus/i2c:ro -v /sys/devices:/sys/devices:ro "
    "--group-add $(getent group nas-power | cut -d: -f3)   # the whole command: docs/board.md, Jetson Nano"
)
_JETPACKS = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}


def l4t_release(root: Path) -> int | None:
    """Return the major release of a Jetson's Linux, 36 for JetPack 6; None if this is no Jetson."""
    found = re.search(r"\bR(\d+)\b", text_of(root / "etc/nv_tegra_release") or "")
    return int(found[1]) if found else None


def check_pace(root: Path) -> Iterator[Check]:
    """Check what sets the clocks, and on a Jetson what its JetPack means for measuring."""
    if not is_jetson(root):
        yield check_governor(root)
        return
    yield check_jetpack(root)
    yield check_power_mode(root)


def is_jetson(root: Path) -> bool:
    """Return whether this is a Jetson."""
    return l4t_release(root) is not None or "jetson" in (board_model(root) or "").lower()


def check_governor(root: Path) -> Check:
    """Check that clocks are held; with a governor that scales them figures vary."""
    found = ", ".join(governors(root)) or "the platform does not scale clocks"
    if clocks_held(root):
        return Check(name="governor", state="ok", found=found)
    return Check(name="governor", state="warn", found=f"{found}: latencies will vary", fix=GOVERNOR_FIX)


def check_power_mode(root: Path) -> Check:
    """Check that a Jetson's power mode is known, as it makes the class, and that its clocks are held within it."""
    mode = power_mode(root)
    if mode is None:
        found = "the power mode is unknown, so that boards in different modes could share a class"
        return Check(name="power mode", state="warn", found=found, fix=MODE_FIX)
    found = f"mode {mode}, cores {cores_online(root) or 'unknown'}"
    if clocks_held(root):
        return Check(name="power mode", state="ok", found=f"{found}, clocks held")
    said = f"{found}; clocks move within the mode, latencies will vary"
    return Check(name="power mode", state="warn", found=said, fix=CLOCKS_FIX)


def check_jetpack(root: Path) -> Check:
    """Check what this Jetson's system lets the agent do."""
    release = l4t_release(root)
    jetpack = _JETPACKS.get(release or 0)
    if release is None:
        fix = "docker run ... -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro   # in a container"
        found = "a Jetson whose /etc/nv_tegra_release cannot be read"
        return Check(name="jetpack", state="warn", found=found, fix=fix)
    found = f"JetPack {jetpack or '?'} (L4T R{release})"
    if release > 32:
        return Check(name="jetpack", state="ok", found=found)
    found = f"{found}: its GPU libraries belong to Python 3.6, so that the agent runs in its image, on the CPU only"
    if not list(root.glob("sys/bus/i2c/drivers/ina3221x/*-00*")):
        return Check(name="jetpack", state="warn", found=f"{found}; the power sensor is not mounted", fix=_SENSOR_FIX)
    return Check(name="jetpack", state="ok", found=found)
