"""CUDA and TensorRT, without either: what the child does for them, with a stand-in for onnxruntime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.inference import PROVIDERS
from edge_agent.measuring import Measurement, measure_file
from edge_agent.records import RuntimeSettings
from tests.edge_agent.models import little_model

ROOT = Path(__file__).parents[2]

# Compiles like TensorRT: slowly when a session is opened, unless the engine lies in the cache; tells of it in a file.
COMPILING_RUNTIME = """
import json, os, pathlib, time
from types import SimpleNamespace as Value

__version__ = "0.0-stand-in"
TENSORRT = "TensorrtExecutionProvider"

class SessionOptions:
    enable_profiling, profile_file_prefix = False, ""
    def add_session_config_entry(self, key, value): pass

def get_available_providers():
    return [TENSORRT, "CUDAExecutionProvider", "CPUExecutionProvider"]

def say(text):
    with open(os.environ["COMPILE_LOG"], "a") as log:
        log.write(text + chr(10))

class InferenceSession:
    def __init__(self, path, sess_options, providers):
        self.options = sess_options
        (name, cache), cuda = providers
        assert (name, cuda, cache["trt_engine_cache_enable"]) == (TENSORRT, "CUDAExecutionProvider", "True")
        engine = pathlib.Path(cache["trt_engine_cache_path"]) / "model.engine"
        if not engine.exists():
            time.sleep(float(os.environ["COMPILE_S"]))
            engine.write_bytes(bytes(80 << 20))
            say("compiled")
        say("opened")
    def get_providers(self): return [TENSORRT]
    def get_inputs(self): return [Value(name="image", type="tensor(float)", shape=[1, 3, 8, 8])]
    def run(self, outputs, feeds): time.sleep(0.0005)
    def end_profiling(self):
        path = self.options.profile_file_prefix + ".json"
        pathlib.Path(path).write_text(json.dumps([{"cat": "Node", "name": "n", "args": {"provider": TENSORRT}}]))
        return path
"""


def measured_by_stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, compile_s: float, prepare_timeout_s: float
) -> tuple[Measurement, list[str]]:
    """Measure under TensorRT's stand-in; return what came of it and what it said."""
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text(COMPILING_RUNTIME)
    (folder / "model.onnx").write_bytes(little_model())
    for name, value in (("PYTHONPATH", folder), ("COMPILE_LOG", folder / "log"), ("COMPILE_S", compile_s)):
        monkeypatch.setenv(name, str(value))
    settings = RuntimeSettings(
        provider=PROVIDERS["tensorrt"], prepare_timeout_s=prepare_timeout_s, memory_limit_mib=1024
    )
    measured = measure_file(folder / "model.onnx", tier="probe", settings=settings, work=folder)
    return measured, (folder / "log").read_text().split() if (folder / "log").exists() else []


def test_a_model_is_compiled_once_and_the_proof_finds_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, said = measured_by_stand_in(tmp_path, monkeypatch, compile_s=0.3, prepare_timeout_s=30.0)
    assert measured.verdict.status == "ok", measured.verdict
    assert said == ["compiled", "opened", "opened", "opened"]  # to compile, to measure, to prove
    assert measured.phases_s["prepare"] > 0.3
    assert measured.runtime["node_providers"] == {PROVIDERS["tensorrt"]: 1}
    assert not list(tmp_path.glob("measure-*"))


def test_compiling_counts_against_the_deadline_of_preparing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, said = measured_by_stand_in(tmp_path, monkeypatch, compile_s=20.0, prepare_timeout_s=4.0)
    assert (measured.verdict.status, measured.verdict.cause) == ("infeasible_timeout", "prepare_timeout_s of 4 passed")
    assert said == []


# Reserves address space as a GPU's driver does, then asks for memory that it fills
LIMITED = """
import json, mmap, sys
from edge_agent.process_limits import limit_memory
limit_memory(256, on_gpu=sys.argv[1] == "gpu")
def tried(size, protection):
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=protection).close()
        return True
    except OSError:
        return False
filled = mmap.PROT_READ | mmap.PROT_WRITE
print(json.dumps([tried(64 << 30, 0), tried(128 << 20, filled), tried(1 << 30, filled)]))
"""


@pytest.mark.parametrize(("where", "reserves"), [("cpu", False), ("gpu", True)])
def test_on_a_gpu_reserved_space_is_free_and_filled_memory_still_limited(where: str, reserves: bool) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, where], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout) == [reserves, True, False]
