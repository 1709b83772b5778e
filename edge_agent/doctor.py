"""`nas-edge doctor`: what could keep this board from measuring, each problem with a command that mends it."""

from __future__ import annotations

import dataclasses
import getpass
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_agent.check import Check, State
from edge_agent.doctor_clocks import check_pace, l4t_release
from edge_agent.doctor_energy import check_energy, check_throttling
from edge_agent.errors import EdgeError, HostKeyError, NotEnrolledError, RefusedError
from edge_agent.fingerprint import installed_runtimes
from edge_agent.home import BoardConfig, Home
from edge_agent.isolation import NONE
from edge_agent.mailbox import open_mailbox
from edge_agent.measuring import Measurement, measure_file
from edge_agent.probe_model import PROBE_MODEL
from edge_agent.records import RecordError, RuntimeSettings

__all__ = ["Check", "State", "examine"]

ROOT = Path("/")
DEFAULT = RuntimeSettings()
PIP = f"{sys.executable} -m pip"
JETPACK_6_INDEX = "https://pypi.jetson-ai-lab.io/jp6/cu126"

_MIN_FREE_BYTES = 200 << 20
_MAX_CLOCK_S = 30.0
_NEEDED_BITS = {"x86_64", "aarch64", "arm64", "AMD64"}


def examine(home: Home, *, root: Path = ROOT) -> list[Check]:
    """Return all checks of this board, in the order in which to mend them."""
    checks = [
        check_python(),
        check_runtimes(installed_runtimes(), l4t=l4t_release(root)),
        *check_inference(),
        check_home(home),
    ]
    checks += [check_energy(home.root, root=root), *check_throttling(root), *check_pace(root)]
    return [*checks, *check_gateway(home)]


def check_python(*, machine: str | None = None) -> Check:
    """Check the processor's word size; the Python version is checked by pip."""
    machine = machine or platform.machine()
    found = f"Python {platform.python_version()} on {machine}"
    if machine not in _NEEDED_BITS:
        fix = "install a 64-bit system image (Raspberry Pi OS 64-bit); onnxruntime has no 32-bit ARM wheels"
        return Check(name="python", state="fail", found=found, fix=fix)
    return Check(name="python", state="ok", found=found)


def check_runtimes(installed: dict[str, str], *, l4t: int | None = None) -> Check:
    """Check which flavours of onnxruntime are installed: one, and not the one that dies on a Pi.

    Args:
        installed: Versions by distribution.
        l4t: The major release of a Jetson's Linux, whose GPU wheels do not come from PyPI; None elsewhere.
    """
    found = ", ".join(f"{name} {version}" for name, version in installed.items()) or "no onnxruntime"
    if not installed:
        return Check(name="onnxruntime", state="fail", found=found, fix=f"{PIP} install onnxruntime")
    if len(installed) > 1:
        wanted = _jetson_wheel(l4t) if l4t is not None else list(installed)[-1]
        fix = f"{PIP} uninstall -y {' '.join(installed)}; {PIP} install {wanted}"
        return Check(name="onnxruntime", state="fail", found=f"{found} shadow each other", fix=fix)
    if "1.21.0" in installed.values() and platform.machine() == "aarch64":
        fix = f"{PIP} install 'onnxruntime!=1.21.0'"
        return Check(name="onnxruntime", state="fail", found=f"{found} dies with SIGILL on Pi 3 and 4", fix=fix)
    return Check(name="onnxruntime", state="ok", found=found)


def _jetson_wheel(l4t: int) -> str:
    """Return what to tell pip; PyPI's onnxruntime-gpu is not built for a Jetson's GPU."""
    if l4t == 36:
        return f"onnxruntime-gpu --index-url {JETPACK_6_INDEX}"
    return "--no-deps YOUR_WHEEL.whl   # the GPU wheel for this JetPack, or plain onnxruntime for the CPU"


def check_inference(
    measure: Callable[..., Measurement] = measure_file, *, settings: RuntimeSettings = DEFAULT
) -> Iterator[Check]:
    """Check that a real model really runs, in a child process that may die of it and has no network."""
    with tempfile.TemporaryDirectory(prefix="nas-doctor-") as folder:
        model = Path(folder) / "probe.onnx"
        model.write_bytes(PROBE_MODEL)
        measured = measure(model, tier="probe", settings=settings, work=Path(folder))
    if measured.verdict.status != "ok" or measured.latency is None:
        found = f"a tiny model did not run: {measured.verdict.cause}"
        fix = f"{PIP} install --force-reinstall --no-cache-dir onnxruntime"
        yield Check(name="inference", state="fail", found=found, fix=fix)
        return
    found = f"a tiny model runs in {measured.latency.median_ms * 1e3:.1f} µs on {measured.runtime['providers'][0]}"
    yield Check(name="inference", state="ok", found=found)
    yield check_isolation(measured.runtime["network_cut"])


def check_provider(settings: RuntimeSettings, *, measure: Callable[..., Measurement] = measure_file) -> Check:
    """Check that the execution provider of the board's class runs a model here; being listed proves nothing."""
    check = next(check_inference(measure, settings=settings))
    if check.state == "ok":
        return dataclasses.replace(check, name="provider")
    l4t = l4t_release(ROOT)
    wheel = "onnxruntime-gpu" if l4t is None else _jetson_wheel(l4t)
    fix = f"{PIP} uninstall -y onnxruntime onnxruntime-gpu; {PIP} install {wheel}"
    return dataclasses.replace(check, name="provider", fix=fix)


def check_isolation(network_cut: str) -> Check:
    """Check how the network was taken away from the child that ran the model."""
    if network_cut.startswith(NONE):
        found = f"a model under measurement could use the network: {network_cut}"
        fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=1000"
        return Check(name="isolation", state="warn", found=found, fix=fix)
    return Check(name="isolation", state="ok", found=f"a model under measurement has no network (by {network_cut})")


def check_home(home: Home) -> Check:
    """Check that the home can be written and has room."""
    try:
        home.create()
        fault = home.storage_fault()
        free = shutil.disk_usage(home.root).free
    except (EdgeError, OSError) as error:
        fault, free = str(error), 0
    if fault is not None:
        fix = f"sudo chattr -R -f -i {home.root}; sudo chown -R {getpass.getuser()} {home.root}"
        if wrong := home.in_the_way():
            fix = f"mv {wrong} {wrong}.aside"
        return Check(name="home", state="fail", found=f"{home.root} cannot be written: {fault}", fix=fix)
    if free < _MIN_FREE_BYTES:
        found = f"{home.root} has only {free >> 20} MiB free"
        return Check(name="home", state="fail", found=found, fix=f"rm -f {home.cache_path}/*   # or free other space")
    return Check(name="home", state="ok", found=f"{home.root}, {free >> 20} MiB free")


def check_gateway(home: Home, *, connect: Callable[..., Any] = open_mailbox) -> Iterator[Check]:
    """Check enrolment, connection, host key, and the clock against the gateway's."""
    try:
        config = home.config()
    except NotEnrolledError as error:
        yield Check(
            name="enrolled", state="fail", found=str(error).split(";")[0], fix="nas-edge enroll HOST[:PORT] CODE"
        )
        return
    yield Check(name="enrolled", state="ok", found=f"{config.board} (class {config.board_class})")
    yield from _check_connection(home, config, connect)


def _check_connection(home: Home, config: BoardConfig, connect: Callable[..., Any]) -> Iterator[Check]:
    where = f"{config.host}:{config.port}"
    try:
        mailbox = connect(home, config)
        try:
            settings = mailbox.read_settings()
        finally:
            mailbox.close()
    except (EdgeError, RecordError) as error:
        yield Check(name="gateway", state="fail", found=str(error), fix=_gateway_fix(error, config))
        return
    yield Check(name="gateway", state="ok", found=f"{where} answers and shows the pinned host key")
    yield check_clock(ahead_s=time.time() - settings.host_unix_s)
    if settings.settings.provider != DEFAULT.provider:
        yield check_provider(settings.settings)


def _gateway_fix(error: EdgeError | RecordError, config: BoardConfig) -> str:
    """Return what ends this way of failing; enrolling anew keeps the board's key and its unsent results."""
    again = f"nas board add {config.board} --class {config.board_class}"
    enrol = f"then here: nas-edge enroll {config.host}:{config.port} CODE"
    if isinstance(error, HostKeyError):
        return f"nas board rm {config.board}; {again}   # only if its owner changed the key: on its machine, {enrol}"
    if isinstance(error, RefusedError):
        return f"{again}   # on the service's machine, {enrol}"
    if isinstance(error, RecordError):
        return f"{PIP} install --upgrade biglittle-nas   # or update the service, whichever is older"
    return f"nc -vz {config.host} {config.port}   # then `nas up --gateway-bind` on the service's machine"


def check_clock(*, ahead_s: float) -> Check:
    """Check the clock against the gateway's; deadlines are kept on our own, so only large errors matter."""
    if abs(ahead_s) > _MAX_CLOCK_S:
        found = f"differs by {ahead_s:+.0f} s from the gateway's"
        return Check(name="clock", state="warn", found=found, fix="sudo timedatectl set-ntp true")
    return Check(name="clock", state="ok", found=f"within {_MAX_CLOCK_S:.0f} s of the gateway's")
