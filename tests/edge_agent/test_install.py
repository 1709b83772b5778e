"""The installer: that a shell can read it, what it would do, and what it refuses. Nothing is installed here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "edge_agent" / "service" / "install.sh"


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    bash = shutil.which("bash")
    assert bash is not None
    environment = None if path is None else {"PATH": path}
    return subprocess.run([bash, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, check=False)


def steps(*arguments: str) -> list[str]:
    """Return the commands that the script would run."""
    done = run("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^would run: (.*)$", done.stdout, flags=re.MULTILINE)


def program(folder: Path, name: str, body: str) -> str:
    """Put a program before the system's own, and return the PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_bash_can_read_it() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", [SCRIPT, ROOT / "cluster" / "openssh" / "mailbox.sh"], ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    assert subprocess.run(["shellcheck", str(script)], check=False).returncode == 0


def test_a_dry_run_installs_the_checkout_and_enrols_in_this_order() -> None:
    said = steps("--hold-clocks", "head:2222", "nas1-code")
    wanted = [
        "python3 -m venv /opt/nas-edge",
        f"/opt/nas-edge/bin/pip install --upgrade {ROOT}",
        f"install -m 644 {SCRIPT.parent}/99-nas-edge.rules /etc/udev/rules.d/",
        f"install -m 644 {SCRIPT.parent}/nas-edge.service /etc/systemd/system/",
        "/opt/nas-edge/bin/nas-edge enroll head:2222 nas1-code",
        "systemctl restart nas-edge",
        "/opt/nas-edge/bin/nas-edge doctor",
    ]
    places = [next(at for at, line in enumerate(said) if line.endswith(end)) for end in wanted]
    assert places == sorted(places)
    clocks = next(at for at, line in enumerate(said) if line.startswith("sh -c "))
    assert clocks < places[4]  # the first board of a class freezes its governor


def test_another_onnxruntime_is_never_put_beside_the_usual_one() -> None:
    said = steps("--runtime", "onnxruntime-gpu --index-url https://wheels.example/jp6")
    pips = [line.partition("/pip ")[2] for line in said if "/pip " in line]
    assert pips == [
        "install --upgrade pip",
        "uninstall --yes onnxruntime",
        "install numpy>=1.24 paramiko>=3.4",
        "install onnxruntime-gpu --index-url https://wheels.example/jp6",
        f"install --upgrade --no-deps {ROOT}",
    ]


def test_what_the_other_onnxruntime_is_installed_with_is_what_the_package_asks_for() -> None:
    declared = re.search(
        r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    assert declared is not None
    wanted = [name for name in re.findall(r'"([^"]+)"', declared[1]) if not name.startswith("onnxruntime")]
    assert f"install '{wanted[0]}' '{wanted[1]}'" in SCRIPT.read_text()
    assert len(wanted) == 2


def test_places_are_those_of_the_unit_file() -> None:
    unit, script = (SCRIPT.parent / "nas-edge.service").read_text(), SCRIPT.read_text()
    prefix, state, user = (
        re.search(rf"^{name}=(\S+)", script, re.MULTILINE) for name in ("PREFIX", "STATE", "USER_NAME")
    )
    assert prefix is not None
    assert state is not None
    assert user is not None
    assert f"ExecStart={prefix[1]}/bin/nas-edge run" in unit
    assert f"NAS_EDGE_HOME={state[1]}\n" in unit
    assert f"User={user[1]}\n" in unit


def test_a_32_bit_system_is_refused(tmp_path: Path) -> None:
    refused = run("--dry-run", path=program(tmp_path, "uname", "echo armv7l"))
    assert refused.returncode == 1
    assert "armv7l, and onnxruntime needs a 64-bit one" in refused.stderr


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    refused = run("--dry-run", "--python", "python-old", path=program(tmp_path, "python-old", "exit 1"))
    assert refused.returncode == 1
    assert "install Python 3.10 or later and name it with --python" in refused.stderr


@pytest.mark.parametrize("arguments", [("--unknown",), ("head:2222",), ("--from",)])
def test_arguments_that_make_no_sense_get_the_usage(arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "install.sh [--dry-run] [--from PACKAGE]" in refused.stderr


def test_every_option_in_the_docs_exists() -> None:
    page = (ROOT / "docs" / "board.md").read_text().replace("\\\n", " ")
    used = {option for line in re.findall(r"install\.sh(.*)", page) for option in re.findall(r"--[a-z-]+", line)}
    assert used - {"--index-url"} <= set(re.findall(r"--[a-z-]+", SCRIPT.read_text().partition("set -euo")[0]))
    assert "--runtime" in used
