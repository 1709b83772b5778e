"""What a figure was made with: machine, interpreter, libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("biglittle-nas", "torch", "numpy")


def surroundings() -> dict[str, str | int | None]:
    """Return the CPU's name, its cores and the versions, None for what is not known."""
    found: dict[str, str | int | None] = {name: _version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version(), "cpu": _cpu(), "cores": os.cpu_count()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None
