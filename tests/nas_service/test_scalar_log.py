"""Curves for TensorBoard and MLflow: what is written, what is told of a missing package, and what a failure costs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
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


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The address of a tracking store that MLflow's own client makes."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs(store: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    return list(client.search_runs([client.get_experiment_by_name(scalar_log.EXPERIMENT).experiment_id]))


def history(store: str, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    [run] = runs(store)
    return [(one.step, one.value) for one in MlflowClient(tracking_uri=store).get_metric_history(run.info.run_id, name)]


@pytest.mark.slow  # the client makes and migrates a database
def test_mlflow_gets_figures_under_one_run_even_if_the_job_is_resumed(tmp_path, store):
    for epoch in (1, 2):
        log = opened(tmp_path, mlflow=store)
        log.log(epoch, {"training/losses/big": 0.5 / epoch})
        log.close()
    [run] = runs(store)
    assert (run.info.run_name, run.info.status, run.data.params) == ("job-1", "FINISHED", {"kind": "train"})
    assert history(store, "training/losses/big") == [(1, 0.5), (2, 0.25)]


@pytest.mark.slow
@pytest.mark.timeout(60)  # by its own patience, MLflow's client would take four minutes
@pytest.mark.usefixtures("store")
def test_a_server_that_is_not_there_is_told_soon_and_before_anything_runs(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(
            InvalidRequestError, match=rf"logging.mlflow: '{address}' cannot be used .*check the address"
        ):
            opened(tmp_path, mlflow=address)


@pytest.mark.slow
def test_a_log_that_fails_gets_nothing_more_and_the_others_go_on(store):
    log = MlflowLog(store, job_id="j", parameters={})
    asked = []
    broken = SimpleNamespace(log=lambda step, figures: asked.append(step) or 1 / 0, close=lambda: None)
    both = Logs([broken, log])
    both.log(1, {"a": 1.0})
    both.log(2, {"a": 2.0})
    assert asked == [1]
    assert history(store, "a") == [(1, 1.0), (2, 2.0)]
