"""What a machine and a service look like to somebody who wonders why it does not work: facts in, checks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nas_service.presence import waiting_text

Verdict = Literal["ok", "warning", "problem"]

MIN_PYTHON = (3, 11)
MIN_FREE_DISK_BYTES = 5 << 30
MIN_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: what it is, how it is, what was found, and what to do next if it is not well."""

    name: str
    verdict: Verdict
    found: str
    advice: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON-able data."""
        return asdict(self)


def check_python(version: tuple[int, int, int]) -> Check:
    """Return whether this Python can run the service."""
    text = ".".join(map(str, version))
    if version[:2] >= MIN_PYTHON:
        return Check(name="python", verdict="ok", found=text)
    needed = ".".join(map(str, MIN_PYTHON))
    advice = f"make a virtual environment with Python {needed} or later and install into it"
    return Check(name="python", verdict="problem", found=f"{text}, the service needs {needed}", advice=advice)


def check_packages(versions: Mapping[str, str | None]) -> Check:
    """Return whether all packages are there; `versions` is by package name, None for a missing one."""
    missing = sorted(name for name, version in versions.items() if version is None)
    if not missing:
        shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "ray", "onnxruntime") if name in versions)
        return Check(name="packages", verdict="ok", found=f"all {len(versions)} ({shown})" if shown else "all")
    advice = "install the service's packages: pip install 'biglittle-nas[service]'"
    return Check(name="packages", verdict="problem", found=f"missing: {', '.join(missing)}", advice=advice)


def check_cores(usable: int) -> Check:
    """Return whether the cores suffice."""
    if usable >= 2:
        return Check(name="cores", verdict="ok", found=f"{usable} usable")
    advice = "a local board and the search share one core, so timings are noisy; give the machine a second one"
    return Check(name="cores", verdict="warning", found=f"{usable} usable", advice=advice)


def check_memory(total_bytes: int | None, available_bytes: int | None) -> Check:
    """Return whether the memory suffices; None where the machine does not tell."""
    if total_bytes is None or available_bytes is None:
        return Check(name="memory", verdict="warning", found="unknown", advice="make sure that 4 GiB are free")
    found = f"{_gib(available_bytes)} free of {_gib(total_bytes)}"
    if available_bytes >= MIN_MEMORY_BYTES:
        return Check(name="memory", verdict="ok", found=found)
    advice = "end other programs: Ray kills workers once memory is nearly used up"
    return Check(
        name="memory", verdict="warning", found=f"{found}, {_gib(MIN_MEMORY_BYTES)} are advised", advice=advice
    )


def check_disk(free_bytes: int, *, folder: str) -> Check:
    """Return whether the disk under `folder` has room for checkpoints and bundles."""
    found = f"{_gib(free_bytes)} free under {folder}"
    if free_bytes >= MIN_FREE_DISK_BYTES:
        return Check(name="disk", verdict="ok", found=found)
    advice = "free some space, or set NAS_HOME to a folder on a larger disk"
    verdict: Verdict = "warning" if free_bytes >= MIN_FREE_DISK_BYTES // 5 else "problem"
    return Check(name="disk", verdict=verdict, found=found, advice=advice)


def check_port(port: int | None, *, name: str, running: bool, bindable: bool) -> Check:
    """Return whether a port can be had, or is had by us already."""
    if port is None:
        return Check(name=name, verdict="ok", found="a free one is chosen at `nas up`")
    if running or bindable:
        return Check(name=name, verdict="ok", found=f"{port} is {'ours' if running else 'free'}")
    advice = f"end what listens on {port} (`ss -ltnp sport = :{port}`), or choose another port at `nas up`"
    return Check(name=name, verdict="problem", found=f"{port} is taken by another program", advice=advice)


def check_service(url: str | None, error: str | None) -> Check:
    """Return whether the service answers; `url` None means that none was brought up."""
    if url is None:
        return Check(name="service", verdict="warning", found="none is running", advice="start it with `nas up`")
    if error is None:
        return Check(name="service", verdict="ok", found=f"answers at {url}")
    advice = "see the logs under NAS_HOME/logs, then `nas down` and `nas up`; or correct NAS_URL"
    return Check(name="service", verdict="problem", found=f"{url}: {error}", advice=advice)


def check_settings(error: str) -> Check:
    """Return the check that failed because what names the service, here or in the environment, cannot be read."""
    advice = "correct what is named; `nas down` clears a state that is damaged"
    return Check(name="settings", verdict="problem", found=error, advice=advice)


def check_token(error: str | None) -> Check:
    """Return whether the service takes our token."""
    if error is None:
        return Check(name="token", verdict="ok", found="accepted")
    advice = "set NAS_TOKEN to a token of this service (`nas token create` on its machine)"
    return Check(name="token", verdict="problem", found=error, advice=advice)


def check_gateway(address: tuple[str, int] | None, *, banner: str | None) -> Check:
    """Return whether the boards' SSH gateway greets; `banner` is what it sent, None if it did not."""
    if address is None:
        return Check(name="gateway", verdict="warning", found="no gateway is known", advice="start it with `nas up`")
    where = f"{address[0]}:{address[1]}"
    if banner is not None and banner.startswith("SSH-2.0-"):
        return Check(name="gateway", verdict="ok", found=f"{where} greets as {banner}")
    found = f"{where} does not answer" if banner is None else f"{where} greets as {banner!r}, which is no SSH"
    advice = "boards cannot connect: see the logs under NAS_HOME/logs, then run `nas up` again"
    return Check(name="gateway", verdict="problem", found=found, advice=advice)


def check_boards(boards: Sequence[Mapping[str, Any]], *, expected: Sequence[str] = ()) -> Check:
    """Return whether boards are there and were heard from within a minute, or have announced their silence.

    Args:
        boards: Those that have enrolled, as the service tells them.
        expected: The names of those that were added and have not.
    """
    if not boards and expected:
        return Check(name="boards", verdict="warning", found="none enrolled", advice=waiting_text(expected))
    if not boards:
        advice = "add one with `nas board add NAME --class CLASS`, or search by MACs alone"
        return Check(name="boards", verdict="warning", found="none enrolled", advice=advice)
    silent = sorted(b["name"] for b in boards if b["presence"] not in ("here", "suspect"))
    if not silent:
        return Check(name="boards", verdict="ok", found=f"{len(boards)} enrolled, all heard from")
    advice = "on the board, see that `nas-edge run` runs and `nas-edge doctor` is content"
    found = f"{len(boards) - len(silent)} of {len(boards)} heard from; silent: {', '.join(silent)}"
    return Check(name="boards", verdict="warning", found=found, advice=advice)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB"
