from __future__ import annotations

import re
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_agent.parity import load_parity
from tests.edge_agent.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the programs in the docs name, to be run in."""
    make_bundle(tmp_path / "bundle")
    np.save(tmp_path / "photo.npy", load_parity(tmp_path / "bundle" / "parity.npz").images[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("board.md", ["route_mismatches=0", "of 1 below the threshold; as promised: 43.3 to 56.7 %"]),
        ("runtime.md", ["route_mismatches=0", "'escalation_rate': 0.2", "'against_threshold': 0"]),
    ],
)
def test_the_programs_in_the_docs_run_as_they_are_printed(folder, capsys, page: str, printed: list[str]) -> None:
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    for program in programs:
        exec(compile(program, page, "exec"), names)  # the later ones go on from the first one's imports
    out = capsys.readouterr().out
    assert [text for text in printed if text not in out] == []


def classify(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["classify.py", "bundle", *arguments])
    runpy.run_path(str(ROOT / "docs" / "examples" / "classify.py"), run_name="__main__")


def test_the_example_classifies_a_folder_of_pictures_of_any_size(folder, capsys, monkeypatch) -> None:
    (folder / "seen").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "seen" / "a.png")
    Image.new("L", (40, 30), 128).save(folder / "seen" / "b.jpg")
    (folder / "seen" / "notes.txt").write_text("no picture")
    classify(monkeypatch, "seen", "--latency-ms", "50")
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] in ("cat", "dog", "owl") for line in lines] == [True, True]
    assert last.startswith("2 pictures, ")


class Camera:
    """An OpenCV camera that sees two frames and is unplugged."""

    def __init__(self, number: int) -> None:
        self.frames, self.released = [np.zeros((30, 40, 3), np.uint8)] * 2, False

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frames.pop()) if self.frames else (False, None)

    def release(self) -> None:
        self.released = True


def test_the_example_classifies_what_a_camera_sees_until_it_is_gone(folder, capsys, monkeypatch) -> None:
    cameras: list[Camera] = []
    opencv = types.ModuleType("cv2")
    opencv.VideoCapture = lambda number: cameras.append(Camera(number)) or cameras[-1]
    opencv.COLOR_BGR2RGB, opencv.cvtColor = 4, lambda frame, code: frame[:, :, ::-1]
    monkeypatch.setitem(sys.modules, "cv2", opencv)
    classify(monkeypatch, "0")
    assert "2 pictures, " in capsys.readouterr().out
    assert cameras[0].released


def test_the_unit_file_runs_the_agent_and_restarts_it_gently() -> None:
    unit = (ROOT / "edge_agent" / "service" / "nas-edge.service").read_text()
    assert re.search(r"^ExecStart=\S+/nas-edge run$", unit, flags=re.MULTILINE)
    assert "RestartSec=60" in unit
    assert "User=nas-edge" in unit
