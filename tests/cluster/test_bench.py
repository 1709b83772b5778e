"""`nas bench` from the request to the results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cluster.bench import configuration, hyperparameters, run
from nas_service.bench import BenchRequest
from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from workers.bench.config import BenchConfig
from workers.bench.folder import CellFolder, CellId, read_config, write_config
from workers.data.dataset import DatasetSpec

MICRO = BenchConfig(preset="micro", dataset=DatasetSpec(name="digits"), systems=("ours",), seeds=(0,), epochs=4)


@pytest.fixture
def folder(tmp_path):
    write_config(tmp_path, MICRO)
    return tmp_path


def test_a_new_bench_takes_what_is_not_named_from_the_preset(tmp_path):
    config = configuration(BenchRequest(preset="micro", out=tmp_path, seeds=2))
    assert (config.epochs, config.seeds, config.dataset.name) == (30, (0, 1), "digits")


def test_a_folder_that_holds_a_bench_is_not_begun_again(folder):
    with pytest.raises(ConflictError, match=r"holds a bench already; go on with it \(--resume\)"):
        configuration(BenchRequest(preset="micro", out=folder))


def test_resuming_keeps_what_is_not_named_and_adds_systems_and_seeds(folder):
    config = configuration(BenchRequest(preset="micro", out=folder, resume=True, seeds=2, systems=("cascade",)))
    assert (config.epochs, config.systems, config.seeds) == (4, ("ours", "cascade"), (0, 1))


def test_resuming_with_another_preset_is_refused(folder):
    with pytest.raises(ConflictError, match="holds a bench of preset 'micro', not 'tiny'; give another folder"):
        configuration(BenchRequest(preset="tiny", out=folder, resume=True))


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="holds no bench"):
        configuration(BenchRequest(preset="micro", out=tmp_path, report_only=True))


def test_hyperparameters_are_read_as_numbers_of_their_kind():
    assert hyperparameters({"learning_rate": "0.2", "batch_size": "64"}) == {"learning_rate": 0.2, "batch_size": 64}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"rate": "1"}, "unknown training key 'rate'; choose from: epochs, batch_size"),
        ({"batch_size": "0.5"}, "batch_size='0.5' is no int; give a number"),
        ({"autocast": "yes"}, "training key 'autocast' takes no number"),
    ],
)
def test_hyperparameters_that_are_none_are_refused(texts, message):
    with pytest.raises(InvalidRequestError, match=message):
        hyperparameters(texts)


def test_a_dry_run_plans_every_system_and_writes_nothing(tmp_path):
    request = BenchRequest(
        preset="micro",
        out=tmp_path / "b",
        systems=("ours", "cascade-kd", "static-big"),
        epochs=40,
        jobs=2,
        dry_run=True,
    )
    view = run(request, command=[], show=lambda view: None, report=lambda text: None).view
    ours, cascade, big = view.cells
    assert not (tmp_path / "b").exists()
    assert ours.tera_macs == pytest.approx(cascade.tera_macs, rel=0.05)
    assert (ours.epochs, big.epochs) == (40, 43)
    assert view.hours_left > 0


def test_an_unknown_system_is_refused_with_the_nearest_name(tmp_path):
    request = BenchRequest(preset="micro", out=tmp_path, systems=("cascade-kt",), dry_run=True)
    with pytest.raises(InvalidRequestError, match="no system is called 'cascade-kt'; did you mean 'cascade-kd'"):
        run(request, command=[], show=lambda view: None, report=lambda text: None)


@pytest.mark.slow
def test_a_bench_that_was_killed_goes_on_and_ends_with_the_same_outputs(folder, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    write_config(whole, MICRO)
    assert _train(whole).wait(140) == 0
    process, files = _train(folder), CellFolder(folder, CellId(system="ours", seed=0))
    while not files.log() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert not files.done
    assert _train(folder).wait(140) == 0
    reference = CellFolder(whole, files.cell)
    for name in ("outputs.npz", "test.npz"):
        ours, theirs = files.read_outputs(name), reference.read_outputs(name)
        assert all(np.array_equal(ours[split].logits, theirs[split].logits) for split in theirs)
    assert files.read_json("choices.json") == reference.read_json("choices.json")
    assert [line["epoch"] for line in files.log()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_systems_are_compared_end_to_end_and_one_that_fails_stops_no_other(tmp_path):
    systems = ("ours", "cascade-kd", "static-big", "tests.cluster.failing_system:make")
    request = BenchRequest(preset="micro", out=tmp_path, systems=systems, epochs=2, jobs=2)
    outcome = run(request, command=["nas", "bench", "micro"], show=lambda view: None, report=lambda text: None)
    states = {cell.name: cell.state for cell in outcome.view.cells}
    assert states.pop("tests.cluster.failing_system.make-s0") == "failed"
    assert set(states.values()) == {"done"}
    [why] = outcome.failures.values()
    assert "this system cannot be trained" in why
    assert (tmp_path / "command.txt").read_text() == "nas bench micro\n"
    assert all(path.stat().st_size for path in outcome.files)
    again = run(
        BenchRequest(preset="micro", out=tmp_path, report_only=True),
        command=[],
        show=lambda view: None,
        report=lambda text: None,
    )
    assert again.files == outcome.files
    assert read_config(tmp_path).systems == systems


def _train(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "workers.bench", str(root), "ours", "0"]
    return subprocess.Popen(command, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
