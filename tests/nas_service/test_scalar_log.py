"""Curves for TensorBoard and MLflow: what is written, what is told of a missing package, and what a failure costs."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nas_service import scalar_log
from nas_service.errors import InvalidRequestError
from nas_service.job import Logging
from nas_service.scalar_log import Logs, MlflowLog, NoLog, missing_extras, open_scalar_log


def opened(tmp_path, **asked):
    return open_scalar_log(Logging(**asked), folder=tmp_path / "board", job_id="job-1", parameters={"kind": "train"})


def test_a_job_that_asks_for_no_log_gets_none_and_writes_nothing(tmp_path):
    log = opened(tmp_path)
    log.log(1, {"a": 1.0})
    assert isinstance(log, NoLog)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # its package takes a second to import
def test_tensorboard_files_hold_every_figure_and_a_resumed_job_adds_to_them(tmp_path):
    for epochs in ((1, 2), (3,)):
        log = opened(tmp_path, tensorboard=True)
        for epoch in epochs:
            log.log(epoch, {"training/losses/big": 1.0 / epoch})
        log.close()
    written = sorted(scalar for file in (tmp_path / "board").iterdir() for scalar in scalars(file))
    assert written == [("training/losses/big", n, pytest.approx(1.0 / n)) for n in (1, 2, 3)]


def scalars(file):
    """The scalars of an event file: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, place, found = file.read_bytes(), 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        place += size + 16
    return found


def test_mlflow_is_not_imported_unless_it_is_asked_for():
    code = "import sys, nas_service.scalar_log; print('mlflow' in sys.modules, 'tensorboardX' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False False"


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(scalar_log, "EXTRAS", {"mlflow": "a_package_that_nobody_has", "tensorboard": "json"})
    [(key, advice)] = missing_extras(Logging(mlflow="http://127.0.0.1:5000", tensorboard=True))
    assert key == "mlflow"
    assert "pip install 'biglittle-nas[mlflow]'" in advice


class FakeMlflow:
    """The part of MLflow's client that is used, in memory."""

    runs: dict[str, dict[str, Any]]

    def __init__(self, tracking_uri: str) -> None:
        if tracking_uri == "http://nobody":
            raise ConnectionError("refused")
        self.runs = FakeMlflow.runs

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return "1"

    def search_runs(self, numbers: list[str], *, filter_string: str, max_results: int) -> list[Any]:
        job = filter_string.split("'")[1]
        return [SimpleNamespace(info=SimpleNamespace(run_id=job))] if job in self.runs else []

    def create_run(self, number: str, *, run_name: str, tags: dict[str, str]) -> Any:
        self.runs[run_name] = {"metrics": [], "params": {}}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_param(self, run: str, name: str, value: str) -> None:
        self.runs[run]["params"][name] = value

    def log_metric(self, run: str, name: str, value: float, *, step: int) -> None:
        self.runs[run]["metrics"].append((name, value, step))

    def set_terminated(self, run: str) -> None:
        """Ended."""


@pytest.fixture
def mlflow(monkeypatch):
    FakeMlflow.runs = {}
    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = FakeMlflow
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    monkeypatch.setattr(scalar_log, "EXTRAS", {"mlflow": "json"})
    return FakeMlflow.runs


def test_mlflow_gets_figures_under_one_run_even_if_the_job_is_resumed(tmp_path, mlflow):
    for epoch in (1, 2):
        log = opened(tmp_path, mlflow="http://127.0.0.1:5000")
        log.log(epoch, {"loss": 0.5})
        log.close()
    assert mlflow == {"job-1": {"metrics": [("loss", 0.5, 1), ("loss", 0.5, 2)], "params": {"kind": "train"}}}


def test_a_server_that_is_not_there_is_told_before_anything_runs(tmp_path, mlflow):
    with pytest.raises(
        InvalidRequestError, match=r"logging.mlflow: 'http://nobody' cannot be used .*check the address"
    ):
        opened(tmp_path, mlflow="http://nobody")


def test_a_log_that_fails_gets_nothing_more_and_the_others_go_on(mlflow):
    log = MlflowLog("http://127.0.0.1:5000", job_id="j", parameters={})
    broken = SimpleNamespace(log=lambda step, figures: 1 / 0, close=lambda: None)
    both = Logs([broken, log])
    both.log(1, {"a": 1.0})
    both.log(2, {"a": 2.0})
    assert [step for _, _, step in mlflow["j"]["metrics"]] == [1, 2]
