"""What makes a board comparable with another: hardware, system and runtime; the same at every start."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_agent.clocks import power_mode

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
ROOT = Path("/")


def read_fingerprint(root: Path = ROOT) -> dict[str, Any]:
    """Return the class-making properties; boards whose fingerprints differ do not share figures."""
    memory_kib = _meminfo_total_kib(root)
    return {
        "model": board_model(root),
        "arch": platform.machine(),
        "cpu": cpu_model(root),
        "cores": os.cpu_count(),
        "max_mhz": _max_mhz(root),
        "ram_gib": None if memory_kib is None else max(1, round(memory_kib / (1 << 20))),
        "os": _os_name(root),
        "l4t": _text(root / "etc/nv_tegra_release"),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "power_mode": power_mode(root),
        "python": platform.python_version(),
        "runtimes": installed_runtimes(),
        "numpy": _version("numpy"),
    }


def installed_runtimes() -> dict[str, str]:
    """Return the installed flavours of onnxruntime with their versions, without importing any."""
    return {name: version for name in _RUNTIMES if (version := _version(name))}


def board_model(root: Path = ROOT) -> str | None:
    """Return the board's model as the device tree or the firmware calls it."""
    return _text(root / "proc/device-tree/model") or _text(root / "sys/class/dmi/id/product_name")


def cpu_model(root: Path = ROOT) -> str | None:
    """Return the processor's name, on ARM its implementer and part numbers."""
    fields: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    if model := fields.get("model name"):
        return model
    if part := fields.get("CPU part"):
        return f"ARM implementer {fields.get('CPU implementer', '?')} part {part}"
    return None


def boot_id(root: Path = ROOT) -> str:
    """Return the kernel's id of this boot, shortened; a board that rebooted has another."""
    return (_text(root / "proc/sys/kernel/random/boot_id") or "unknown").replace("-", "")[:12]


def _max_mhz(root: Path) -> int | None:
    text = _text(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return int(text) // 1000 if text and text.isdigit() else None


def _meminfo_total_kib(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return None


def _os_name(root: Path) -> str | None:
    for line in (_text(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
