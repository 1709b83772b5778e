"""Every command of the contract is in the help of `nas` and `nas-edge`."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAS = "demo up down status doctor submit jobs show logs stop resume front get report bench".split()
OPTIONS = {
    "up": ["--gateway-bind"],
    "submit": ["--wait"],
    "logs": ["-f"],
    "front": [
        "--board", "--max-latency-ms", "--max-energy-mj", "--max-memory-kib", "--min-accuracy", "--json", "--csv",
    ],
    "get": ["-o"],
    "report": ["-o"],
    "bench": ["--systems", "--seeds", "--epochs", "--resume", "-o"],
    "board add": ["--class"],
    "board ls": [], "board show": [], "board drain": [], "board rm": [],
    "token create": [], "token ls": [], "token revoke": [],
}  # fmt: skip
EDGE = {"enroll": [], "run": [], "doctor": ["--json"], "measure": ["--tier", "--json"], "predict": []}
TIERS = ("probe", "screen", "rank", "final", "sustained")


def help_of(module: str, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *command, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nas_help_lists_every_command():
    words = {line.split()[0] for line in help_of("nas_service").splitlines() if line.startswith("  ") and line.strip()}
    assert {*NAS, "board", "token"} <= words


@pytest.mark.parametrize("command", list(OPTIONS))
def test_a_command_has_the_contracts_options(command):
    text = help_of("nas_service", *command.split())
    assert [option for option in OPTIONS[command] if option not in text] == []


@pytest.mark.parametrize("command", list(EDGE))
def test_the_boards_command_has_the_contracts_options(command):
    text = help_of("edge_agent", command)
    assert [option for option in EDGE[command] if option not in text] == []


def test_the_board_measures_at_every_tier_of_the_contract():
    text = help_of("edge_agent", "measure")
    assert [tier for tier in TIERS if tier not in text] == []
