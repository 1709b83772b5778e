from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edge_agent.parity import load_parity
from tests.edge_agent.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_the_programs_in_the_docs_run_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    np.save(tmp_path / "photo.npy", load_parity(tmp_path / "bundle" / "parity.npz").images[0])
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "board.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for program in programs:
        exec(compile(program, "docs/board.md", "exec"), names)  # the later ones go on from the first one's imports
    out = capsys.readouterr().out
    assert "route_mismatches=0" in out
    assert "of 1 below the threshold; as promised: 43.3 to 56.7 %" in out


def test_the_unit_file_runs_the_agent_and_restarts_it_gently() -> None:
    unit = (ROOT / "edge_agent" / "service" / "nas-edge.service").read_text()
    assert re.search(r"^ExecStart=\S+/nas-edge run$", unit, flags=re.MULTILINE)
    assert "RestartSec=60" in unit
    assert "User=nas-edge" in unit
