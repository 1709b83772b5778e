"""The space, the block and the data set of docs/own-space.md, end to end."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_service.block import BLOCKS, block_kinds
from nas_service.errors import InvalidRequestError
from nas_service.job import parse_job
from nas_service.layers import LayerRecord
from nas_service.pair_space import PairSpace, SpaceDefinition
from nas_service.plan import COUPLINGS
from nas_service.presets import MICRO
from nas_service.space import load_definition
from tests.workers.test_export import run
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.export import export_pair
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train

PAGE = Path(__file__).parents[2] / "docs" / "own-space.md"
HERE = "tests.workers.test_own_space"
CHILD = """
import pickle, sys
from nas_service.pair_space import PairSpace
from workers.supernet import Supernet
space = PairSpace(pickle.loads(sys.stdin.buffer.read()), channels=1, resolution=16, classes=3)
supernet = Supernet(space)
print(sum(p.numel() for p in supernet.extract(space.plan(space.extreme("stem", largest=False))).parameters()))
"""


def in_fours(block, size):
    return (
        LayerRecord(
            operation="conv", in_channels=block.in_channels, out_channels=block.out_channels, size=size, groups=4
        ),
    )


GROUPED = {"in_fours": in_fours}


def no_dataset(spec):
    return {}


def example(language: str) -> str:
    """Return the page's first block of code in `language`."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with the page's file in it."""
    (tmp_path / "gratings.py").write_text(example("python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("gratings", None)
    block_kinds.cache_clear()


@pytest.fixture
def space(folder: Path) -> PairSpace:
    return PairSpace(load_definition("gratings:SPACE"), channels=1, resolution=16, classes=3)


def test_the_job_of_the_page_is_a_job(folder):
    spec = parse_job(example("yaml"))
    assert (spec.dataset.name, spec.space.preset) == ("gratings:load", "gratings:SPACE")
    space = PairSpace(
        load_definition(spec.space.preset, couplings=spec.space.couplings),
        channels=1,
        resolution=16,
        classes=3,
        constraints=spec.constraints,
    )
    space.check_constraints()


def test_supernet_and_extracted_pair_agree_on_the_own_block_in_every_coupling(space):
    supernet = Supernet(space)
    x = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    kinds = {"little0_kind": "two_scales", "big0_kind": "two_scales"}
    for coupling in COUPLINGS * 2:
        plan = space.plan({**space.sample(rng), **kinds, "coupling": coupling})
        assert all("two_scales" in {block.kind for block in half.blocks} for half in (plan.little, plan.big))
        with torch.no_grad():
            torch.testing.assert_close(supernet.extract(plan).train()(x), supernet(x, plan), atol=1e-5, rtol=1e-4)


def test_a_triangular_big_computes_nothing_of_an_own_block_that_the_little_computed(space):
    plan = space.plan({**space.extreme("triangular", largest=True), "big0_kind": "two_scales", "big0_depth": 1})
    tail = plan.tail_blocks()[0]
    assert [(r.operation, r.in_channels, r.out_channels) for r in tail.records()] == [("conv", 16, 16)]
    assert (
        plan.little_macs + plan.tail_macs < space.plan({**space.extreme("nested", largest=True)}).costs()["worst_macs"]
    )


@pytest.mark.slow
def test_the_space_and_data_set_of_the_page_train_evaluate_and_export(space):
    dataset = load(DatasetSpec(name="gratings:load"))
    splits, supernet = Splits.of(dataset, seed=0), Supernet(space)
    reports = list(train(supernet, dataset, splits, TrainConfig(epochs=1, batch_size=32)))
    assert len(reports) == 1
    context = EvaluationContext(EvaluationData.of(dataset, splits))
    for coupling in COUPLINGS:
        plan = space.plan({**space.extreme(coupling, largest=True)})
        evaluation = evaluate(supernet, plan, context)
        assert evaluation.big_accuracy > 0.5
        images = torch.cat(context.batches).contiguous().numpy()
        got = run(export_pair(evaluation.pair, router="msp"), images)
        assert (got["little"].argmax(1) == evaluation.outputs.little_logits.argmax(1).numpy()).all()
        assert (got["big"].argmax(1) == evaluation.outputs.escalated_logits.argmax(1).numpy()).all()


@pytest.mark.slow
def test_a_process_that_is_handed_the_definition_finds_blocks_and_wiring_by_itself(space, folder):
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps(space.definition),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), root]), "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) == space.plan(space.extreme("stem", largest=False)).params()


def own(kind: str, *, widths: tuple[int, ...]) -> SpaceDefinition:
    stages = [replace(stage, kinds=(kind,), widths=widths, depths=(1,)) for stage in MICRO.little]
    return replace(MICRO, little=tuple(stages), couplings=("independent",), blocks=f"{HERE}:GROUPED")


def test_widths_that_groups_do_not_divide_are_found_before_anything_is_trained():
    definition = own("in_fours", widths=(16, 18))
    message = (
        r"block stage0.0 of kind 'in_fours': (16|8) channels in, 18 out: not divisible into 4 groups; choose widths"
    )
    with pytest.raises(InvalidRequestError, match=message):
        Supernet(PairSpace(definition, channels=1, resolution=8, classes=10))


def test_a_kind_that_is_in_no_table_is_found_when_the_space_is_used():
    definition = own("in_fives", widths=(16,))
    with pytest.raises(InvalidRequestError, match=r"unknown stage kind 'in_fives'; choose one of: .*, in_fours"):
        PairSpace(definition, channels=1, resolution=8, classes=10)


def test_every_own_kind_is_a_stage_kind_beside_those_there_are():
    assert set(block_kinds(f"{HERE}:GROUPED")) == {*BLOCKS, "in_fours"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_module:load",
            "cannot be imported: No module named 'no_such_module'; is it on the workers' Python path",
        ),
        (f"{HERE}:nothing", "cannot be imported: .*nothing"),
        (f"{HERE}:no_dataset", "loaded a dict but must return a workers.data.dataset.Dataset"),
        ("gratingz", "unknown data set 'gratingz'; .*or give package.module:function"),
    ],
)
def test_a_loader_that_cannot_be_used_is_refused(name, message):
    with pytest.raises(InvalidRequestError, match=message):
        load(DatasetSpec(name=name))
