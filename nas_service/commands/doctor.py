"""`nas doctor`: looks at this machine and at the service, and says what to do about each problem."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click

from nas_service.client import Client
from nas_service.commands.console import Console
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.diagnosis import (
    Check,
    check_boards,
    check_cores,
    check_disk,
    check_gateway,
    check_memory,
    check_packages,
    check_port,
    check_python,
    check_service,
    check_settings,
    check_token,
)
from nas_service.errors import InvalidRequestError, NasError
from nas_service.home import Home, ServiceState

DISTRIBUTION = "biglittle-nas"
BANNER_TIMEOUT_S = 3.0
MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("problem", "red")}


@click.command("doctor")
@json_option
@pass_context
def doctor_command(context: Context, as_json: bool) -> None:
    """Check this machine and the service.

    Each problem comes with what to do next. Exit code 1 if there is one; warnings alone are no problem.
    """
    home = context.home()
    checks = [*machine_checks(home), *service_checks(home, context.connect)]
    print_checks(context.console, checks, as_json=as_json)
    if any(check.verdict == "problem" for check in checks):
        raise click.exceptions.Exit(1)


def print_checks(console: Console, checks: list[Check], *, as_json: bool) -> None:
    """Write the checks, each that is not well with what to do next."""
    if as_json:
        console.json({"checks": [check.to_dict() for check in checks]})
        return
    lines = []
    for check in checks:
        word, colour = MARKS[check.verdict]
        mark = click.style(f"{word:<8}", fg=colour) if console.out.isatty() else f"{word:<8}"
        lines.append(f"{mark} {check.name:<13} {check.found}")
        if check.advice:
            lines.append(f"{'':<22} next: {check.advice}")
    console.data("\n".join(lines))


def machine_checks(home: Home) -> list[Check]:
    """Return what can be said of this machine without a service."""
    folder = next(path for path in (home.root, *home.root.parents) if path.exists())
    total_bytes, available_bytes = memory_bytes(Path("/proc/meminfo"))
    version = sys.version_info
    return [
        check_python((version.major, version.minor, version.micro)),
        check_packages(package_versions()),
        check_cores(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        check_memory(total_bytes, available_bytes),
        check_disk(shutil.disk_usage(folder).free, folder=str(folder)),
    ]


def service_checks(home: Home, connect: Callable[[], Client]) -> list[Check]:
    """Return what can be said of the service that this machine runs or points to."""
    try:
        state = home.read_state()
        client = connect()
    except InvalidRequestError as unusable:
        return [check_settings(str(unusable))]
    except NasError:
        return [*_port_checks(state, running=False), check_service(None, None)]
    with client:
        error = _failure(client.require_healthy)
        checks = [*_port_checks(state, running=error is None), check_service(client.url, error)]
        if error is None:
            checks.append(check_token(refusal := _failure(client.boards)))
            checks.append(_gateway_check(state))
            if refusal is None:
                checks.append(
                    check_boards(client.boards(), expected=[board["name"] for board in client.expected_boards()])
                )
    return checks


def package_versions() -> dict[str, str | None]:
    """Return the version of every package that the service needs, None for a missing one."""
    versions: dict[str, str | None] = {}
    for requirement in _requirements():
        try:
            versions[requirement] = importlib.metadata.version(requirement)
        except importlib.metadata.PackageNotFoundError:
            versions[requirement] = None
    return versions


def memory_bytes(meminfo: Path) -> tuple[int | None, int | None]:
    """Return the machine's total and available memory in bytes; None where the file does not tell."""
    try:
        text = meminfo.read_text()
    except OSError:
        return None, None
    sizes = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    return sizes.get("MemTotal"), sizes.get("MemAvailable")


def ssh_banner(host: str, port: int) -> str | None:
    """Return the first line that an SSH server sends, None if there is none within three seconds."""
    try:
        with socket.create_connection((host, port), timeout=BANNER_TIMEOUT_S) as connection:
            connection.settimeout(BANNER_TIMEOUT_S)
            return connection.recv(255).split(b"\n")[0].strip().decode("ascii", "replace") or None
    except OSError:
        return None


def bindable(port: int, *, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _requirements() -> list[str]:
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [DISTRIBUTION]
    wanted = [line for line in lines if "extra ==" not in line or re.search(r"extra == [\"']service[\"']", line)]
    return sorted({re.split(r"[\s;\[<>=!~(]", line, maxsplit=1)[0] for line in wanted})


def _failure(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except NasError as error:
        return str(error)
    return None


def _port_checks(state: ServiceState | None, *, running: bool) -> list[Check]:
    api_port = int(match[1]) if state and state.api_url and (match := re.search(r":(\d+)/?$", state.api_url)) else None
    gateway_port = state.gateway_port if state else None
    return [
        check_port(port, name=name, running=running, bindable=port is not None and bindable(port))
        for name, port in (("API port", api_port), ("gateway port", gateway_port))
    ]


def _gateway_check(state: ServiceState | None) -> Check:
    if state is None or state.gateway_port is None:
        return check_gateway(None, banner=None)
    host = "127.0.0.1" if state.gateway_host in (None, "0.0.0.0", "::") else str(state.gateway_host)
    return check_gateway((host, state.gateway_port), banner=ssh_banner(host, state.gateway_port))
