from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from nas_service.errors import InvalidRequestError
from nas_service.job import DATASETS, InvalidJobError, JobSpec, JobState, parse_job
from nas_service.job_fit import DATASETS_THAT_RUN
from nas_service.job_parts import PRESETS, STRATEGIES, TRAINING_STRATEGIES
from nas_service.job_state import TRANSITIONS
from nas_service.objective import Objective
from nas_service.search import SEARCHERS
from nas_service.space import PRESETS as SPACES

YAML = """
kind: search
name: cifar10-on-pi5
dataset: {name: cifar10, root: ~/data}
space: {preset: tiny, couplings: [stem, nested, triangular]}
supernet: {epochs: 60, learning_rate: 1e-3}
strategy: {name: nsga2, evaluations: 200, concurrency: 8}
objectives: [error, latency_ms@rpi5, energy_mj@rpi5]
constraints: {params: 100000, memory_kib@jetson: 30000}
measurement: {tier: rank}
finalists: {count: 5, fine_tune_epochs: 10}
resources: {trainer: {gpus: 1}, evaluators: {count: 4, gpus: 0.25}}
seed: 7
"""


def job(**changes: Any) -> dict[str, Any]:
    """A small job with keys replaced by path, such as `job(supernet__epochs=3)`; None removes the key."""
    data: dict[str, Any] = {
        "kind": "search",
        "name": "digits demo",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 2},
        "strategy": {"name": "random", "evaluations": 8},
        "objectives": ["error", "macs"],
    }
    for path, value in changes.items():
        *folders, key = path.split("__")
        here = data
        for folder in folders:
            here = here.setdefault(folder, {})
        here[key] = value
        if value is None:
            del here[key]
    return data


def problems(data: Any) -> list[str]:
    with pytest.raises(InvalidJobError) as caught:
        parse_job(data)
    return [str(problem) for problem in caught.value.problems]


def test_a_job_file_says_what_it_says() -> None:
    spec = parse_job(YAML)
    assert (spec.kind, spec.seed, spec.router, spec.dataset.root) == ("search", 7, "msp", "~/data")
    assert (spec.supernet.epochs, spec.supernet.learning_rate, spec.supernet.batch_size) == (60, 0.001, 128)
    assert [(s.name, s.evaluations, s.concurrency) for s in spec.strategy] == [("nsga2", 200, 8)]
    assert spec.objectives == ("error", "latency_ms@rpi5", "energy_mj@rpi5")
    assert (spec.resources.trainer.gpus, spec.resources.evaluators.count) == (1.0, 4)
    assert spec.space.couplings == ("stem", "nested", "triangular")


def test_a_finalist_is_given_a_temperature_and_on_demand_class_thresholds_and_a_guarantee() -> None:
    default = parse_job(YAML).finalists
    assert (default.temperature, default.class_thresholds, default.risk) == (True, False, None)
    wish = {"temperature": False, "class_thresholds": True, "risk": {"epsilon": 0.02}}
    spec = parse_job({**parse_job(YAML).to_dict(), "router": "learned", "finalists": wish})
    assert (spec.router, spec.finalists.temperature, spec.finalists.class_thresholds) == ("learned", False, True)
    assert (spec.finalists.risk.epsilon, spec.finalists.risk.delta) == (0.02, 0.05)


def test_text_bytes_and_mapping_give_the_same_job() -> None:
    spec = parse_job(YAML)
    assert parse_job(YAML.encode()) == parse_job(spec.to_dict()) == JobSpec.parse(spec.to_dict()) == spec
    assert parse_job(spec.to_dict()).hash() == spec.hash()


def test_a_hash_tells_jobs_apart_and_does_not_mind_the_order_of_keys() -> None:
    assert parse_job(job()).hash() == parse_job(dict(reversed(job().items()))).hash()
    assert parse_job(job()).hash() != parse_job(job(seed=1)).hash()


def test_a_list_of_strategies_runs_one_after_the_other() -> None:
    two = [{"name": "nsga2", "evaluations": 12}, {"name": "tpe", "evaluations": 12, "concurrency": 2}]
    spec = parse_job(job(strategy=two))
    assert [(s.name, s.concurrency) for s in spec.strategy] == [("nsga2", 8), ("tpe", 2)]


def test_board_classes_come_from_objectives_and_constraints_once_each() -> None:
    assert parse_job(YAML).board_classes() == ("rpi5", "jetson")
    assert parse_job(job()).board_classes() == ()
    assert parse_job(YAML).parsed_objectives()[1] == Objective("latency_ms", "rpi5")
    assert parse_job(YAML).parsed_constraints()[Objective("memory_kib", "jetson")] == 30000.0


def test_a_priority_is_for_jobs_that_measure_on_boards() -> None:
    on_boards = job(objectives=["error", "latency_ms@rpi5"])
    assert (parse_job(on_boards).priority, parse_job({**on_boards, "priority": 9}).priority) == (0, 9)
    assert problems({**on_boards, "priority": 10})[0].startswith("priority: ")
    assert problems(job(priority=1)) == [
        "priority: orders measurements on boards, and this job names no board class in its objectives; remove it"
    ]


def test_a_spec_is_a_value_that_its_source_cannot_change() -> None:
    data = job(constraints={"params": 1000})
    spec = parse_job(data)
    data["constraints"]["params"] = 1
    assert spec.constraints == {"params": 1000.0}
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]


def test_parsing_leaves_what_it_was_given_alone() -> None:
    data = job()
    before = copy.deepcopy(data)
    parse_job(data)
    assert data == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"strategy": {"name": "tpe", "evalutions": 8}},
            "strategy.evalutions: unknown key; did you mean 'evaluations'?",
        ),
        ({"sed": 1}, "sed: unknown key; did you mean 'seed'?"),
        ({"resources__evaluators": {"cpu": 1}}, "resources.evaluators.cpu: unknown key; did you mean 'cpus'?"),
        ({"dataset__zzz": 1}, "dataset.zzz: unknown key; allowed: name, root, image_column, label_column, resolution"),
        (
            {"strategy": [{"name": "tpe", "evaluations": 8}, {"name": "tpe", "evalutions": 8}]},
            "strategy[1].evalutions: unknown key; did you mean 'evaluations'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_its_path_and_the_nearest_known_one(
    changes: dict[str, Any], expected: str
) -> None:
    assert expected in problems(job(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": None}, "kind: is missing"),
        (
            {"kind": "serch"},
            "kind: is 'serch' (text) but must be one of: search, train, tune, compare, measure; did you",
        ),
        ({"name": ""}, "name: is '' (text): string should have at least 1 character"),
        ({"name": " "}, "name: is ' ' but must be 1 to 100 printable characters"),
        ({"name": "a\nb"}, r"name: is 'a\nb' but must be 1 to 100 printable characters"),
        ({"name": 2024}, "name: is 2024 (integer) but must be a text"),
        ({"dataset": "digits"}, "dataset: is 'digits' (text) but must be a mapping"),
        (
            {"dataset__name": "cifar1"},
            "dataset.name: unknown data set 'cifar1'; did you mean 'cifar10'?; choose one of: ",
        ),
        ({"dataset__label_column": "y"}, "dataset: data set 'digits' has no columns to name; remove image_column"),
        (
            {"dataset": {"name": "folder", "root": "x", "label_column": "y"}},
            "dataset: data set 'folder' has no columns to name",
        ),
        ({"dataset__resolution": 96}, "dataset: data set 'digits' has a resolution of its own; remove resolution"),
        (
            {"dataset": {"name": "folder", "root": "x", "resolution": 4}},
            "dataset.resolution: is 4 (integer) but must be at least 8",
        ),
        (
            {"supernet": {"epochs": 1, "augmentation": {"cutmx": 1.0}}},
            "supernet.augmentation.cutmx: unknown key; did you mean 'cutmix'?",
        ),
        (
            {"supernet": {"epochs": 1, "augmentation": {"magnitude": 31}}},
            "supernet.augmentation.magnitude: is 31 (integer) but must be at most 30",
        ),
        ({"dataset__name": "cifar10"}, "dataset.root: is missing; say where 'cifar10' lies"),
        ({"space__preset": "micr"}, "space.preset: unknown preset 'micr'; did you mean 'micro'?; choose one of: micro"),
        ({"space__couplings": []}, "space.couplings: is [] but must name at least one coupling, and none twice"),
        ({"space__couplings": ["stem", "stem"]}, "space.couplings: is ['stem', 'stem'] but must name"),
        ({"space__couplings": ["nestd"]}, "space.couplings[0]: is 'nestd' (text) but must be one of: independent"),
        ({"space__couplings": "stem"}, "space.couplings: is 'stem' (text) but must be a list"),
        (
            {"supernet": {}},
            "supernet: needs either 'epochs' (train one) or 'checkpoint' (use a trained one), and not bo",
        ),
        ({"supernet__checkpoint": "a" * 64}, "supernet: needs either 'epochs'"),
        ({"supernet": {"checkpoint": "best"}}, "supernet.checkpoint: the artefact is 'best' but must be 64 lower-case"),
        ({"supernet__epochs": "60"}, "supernet.epochs: is '60' (text) but must be an integer"),
        ({"supernet__epochs": 6.5}, "supernet.epochs: is 6.5 (number) but must be an integer"),
        ({"supernet__epochs": True}, "supernet.epochs: is True (truth value) but must be an integer"),
        ({"supernet__epochs": 0}, "supernet.epochs: is 0 (integer) but must be at least 1"),
        ({"supernet__learning_rate": float("nan")}, "supernet.learning_rate: is nan (number) but must be a finite num"),
        ({"supernet__train_fraction": 1.5}, "supernet.train_fraction: is 1.5 (number) but must be at most 1"),
        (
            {"measurement": {"tier": "rank", "near_front": "screen"}},
            "measurement: near_front is 'screen' but must be a higher tier than 'rank'",
        ),
        ({"warm_start": ["job-1"]}, "warm_start: takes over accuracies, which compare only where the weights are"),
        ({"strategy": None}, "strategy: is missing; give {name, evaluations}, or a list of them"),
        ({"strategy": "tpe"}, "strategy: is 'tpe' (text) but must be a list"),
        ({"strategy": {"name": "tpe"}}, "strategy.evaluations: is missing"),
        (
            {"strategy__name": "nsga3"},
            "strategy.name: unknown strategy 'nsga3'; did you mean 'nsga2'?; choose one of: ",
        ),
        ({"strategy__concurrency": 0}, "strategy.concurrency: is 0 (integer) but must be at least 1"),
        ({"objectives": None}, "objectives: is missing; a search needs at least one of: error, macs,"),
        (
            {"objectives": ["error", "latency"]},
            "objectives[1]: unknown objective 'latency'; did you mean 'latency_ms'?",
        ),
        (
            {"objectives": ["error", "error"]},
            "objectives: is ['error', 'error'] but must be 1 to 4 objectives, and none",
        ),
        ({"objectives": ["error"] * 5}, "but must be 1 to 4 objectives, and none twice"),
        ({"objectives": "error"}, "objectives: is 'error' (text) but must be a list"),
        ({"constraints": {"param": 1}}, "constraints.param: unknown objective 'param'; did you mean 'params'?"),
        ({"constraints": {"memory_kib": 1}}, "constraints.memory_kib: objective 'memory_kib' lacks the board class"),
        ({"constraints": {"params": 0}}, "constraints.params: is 0 (integer) but must be more than 0"),
        ({"constraints": {"params": "1e5"}}, "constraints.params: is '1e5' (text) but must be a number"),
        (
            {"constraints": {"error": 5}},
            "constraints.error: 'error' cannot be bounded in a job; filter the front by --m",
        ),
        ({"constraints": {7: 5}}, "constraints[7]: is 7 (integer) but must be a text"),
        ({"measurement__timeout_s": 0}, "measurement.timeout_s: is 0 (integer) but must be more than 0"),
        ({"finalists__int8": "no"}, "finalists.int8: is 'no' (text) but must be true or false"),
        ({"resources__trainer": {"gpus": -1}}, "resources.trainer.gpus: is -1 (integer) but must be at least 0"),
        ({"finalists__risk": {"epsilon": 0}}, "finalists.risk.epsilon: is 0 (integer) but must be more than 0"),
        ({"finalists__risk": {"delta": 1.0}}, "finalists.risk.delta: is 1.0 (number) but must be less than 1"),
        ({"finalists__class_thresholds": 1}, "finalists.class_thresholds: is 1 (integer) but must be true or false"),
        ({"router": "oracle"}, "router: is 'oracle' (text) but must be one of: msp, margin, entropy, learned"),
        ({"seed": -1}, "seed: is -1 (integer) but must be at least 0"),
        ({"seed": 2**32}, "seed: is 4294967296 (integer) but must be less than 4294967296"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path_and_what_is_allowed(changes: dict[str, Any], expected: str) -> None:
    assert any(expected in problem for problem in problems(job(**changes))), problems(job(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"measurement__tier": "final"},
            "measurement.tier: 'final' measures finished pairs, not a search's; choose one of probe, screen, rank",
        ),
    ],
)
def test_what_this_version_does_not_run_is_refused_and_says_what_works(changes: dict[str, Any], expected: str) -> None:
    [problem] = problems(job(**changes))
    assert problem.startswith(expected)


@pytest.mark.parametrize("tier", ["probe", "screen", "rank", "final", "sustained"])
def test_finalists_may_be_measured_at_every_tier(tier: str) -> None:
    assert parse_job(job(finalists__tier=tier)).finalists.tier == tier


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_space(name: str) -> None:
    assert parse_job(job(space__preset=name)).space.preset == name
    assert name in SPACES


def test_every_searcher_preset_and_data_set_there_is_can_be_named() -> None:
    assert {*SEARCHERS, *TRAINING_STRATEGIES} == set(STRATEGIES)
    assert set(SPACES) <= set(PRESETS)
    assert set(DATASETS_THAT_RUN) <= set(DATASETS)


def test_augmentation_says_what_it_changes_and_leaves_the_rest_to_the_data_set() -> None:
    spec = parse_job(job(supernet={"epochs": 1, "augmentation": {"randaugment": 2, "cutmix": 1.0}}))
    assert spec.to_dict()["supernet"]["augmentation"] == {"randaugment": 2, "cutmix": 1.0}
    assert parse_job(spec.to_dict()) == spec


def test_folders_and_parquet_files_have_the_resolution_that_the_job_says() -> None:
    for name in ("folder", "imagenet", "parquet"):
        spec = parse_job(job(dataset={"name": name, "root": "x", "resolution": 64}))
        assert spec.dataset.resolution == 64


def test_a_space_of_ones_own_is_named_by_its_import_path() -> None:
    assert parse_job(job(space__preset="my_spaces.wide:SPACE")).space.preset == "my_spaces.wide:SPACE"
    assert "or write package.module:object" in problems(job(space__preset="my_spaces.wide"))[0]


def test_a_data_set_of_ones_own_is_named_by_its_import_path_and_may_have_a_root() -> None:
    spec = parse_job(job(dataset={"name": "my_data.eyes:load", "root": "~/eyes"}))
    assert (spec.dataset.name, spec.dataset.root) == ("my_data.eyes:load", "~/eyes")
    assert "or write package.module:function" in problems(job(dataset__name="my_data.eyes"))[0]


def test_training_needs_epochs_and_nothing_to_search_by() -> None:
    assert parse_job(job(kind="train", strategy=None, objectives=None)).strategy == ()
    assert problems(job(kind="train", supernet={"checkpoint": "a" * 64})) == [
        "supernet.epochs: is missing; kind 'train' trains a supernet",
        "strategy: means nothing to kind 'train'; remove it",
        "objectives: means nothing to kind 'train'; remove it",
    ]


def test_all_problems_are_named_at_once() -> None:
    found = problems(job(sed=1, supernet__epochs="2", objectives=["errr"]))
    assert [line.partition(":")[0] for line in found] == ["sed", "supernet.epochs", "objectives[0]"]


@pytest.mark.parametrize("source", ["", "- a", "search", "7", "null", "[]"])
def test_yaml_that_holds_no_mapping_is_refused(source: str) -> None:
    assert problems(source)[0].startswith("a job is a mapping of keys such as 'kind: search' but this is ")


def test_yaml_errors_are_requests_to_change() -> None:
    with pytest.raises(InvalidRequestError, match=r"cannot be read at line 2, column 1: key 'kind' appears twice"):
        parse_job("kind: search\nkind: train\n")


def test_a_job_is_over_in_three_states_and_two_of_them_can_be_resumed() -> None:
    over = {state for state in JobState if state.over}
    assert over == {JobState.FINISHED, JobState.FAILED, JobState.STOPPED}
    assert {state for state in over if state.may_become(JobState.QUEUED)} == {JobState.FAILED, JobState.STOPPED}


def test_every_state_is_reached_and_every_driver_that_died_leaves_a_resumable_job() -> None:
    assert set().union(*TRANSITIONS.values()) == set(JobState)
    for state in (JobState.TRAINING, JobState.SEARCHING, JobState.FINISHING):
        assert {JobState.QUEUED, JobState.FAILED, JobState.STOPPED} <= TRANSITIONS[state]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources__trainer": {"workers": 0}}, "is 0 (integer) but must be at least 1"),
        ({"resources__trainer": {"workers": 2, "gpus": 0.5}}, "gpus is 0.5 for each of 2 workers; give each 1, or 0"),
        (
            {"resources__trainer": {"workers": 4}, "supernet__batch_size": 6},
            "supernet.batch_size: is 6 but 4 workers with 1 parts each need at least 8; raise it, or lower",
        ),
        ({"supernet__accumulate": 64, "supernet__batch_size": 100}, "1 workers with 64 parts each need at least 128"),
    ],
)
def test_workers_that_cannot_share_a_batch_are_refused(changes, message):
    (problem,) = problems(job(**changes))
    assert message in problem


def test_a_job_may_train_on_several_gpus():
    trainer = parse_job(job(resources__trainer={"workers": 4, "gpus": 1, "cpus": 4})).resources.trainer
    assert (trainer.workers, trainer.gpus, trainer.cpus) == (4, 1, 4)


MEASURE = {
    "kind": "measure",
    "name": "tiny on rpi5",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "objectives": ["latency_ms@rpi5"],
}


def test_a_table_is_measured_without_a_supernet_and_survives_being_written_down() -> None:
    spec = parse_job(MEASURE)
    assert spec.measurement.pairs == 50
    assert JobSpec.parse(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"objectives": ["macs"]}, "objectives: names no board class; say what is to be measured where"),
        ({"supernet": {"epochs": 3}}, "supernet: means nothing to kind 'measure': graphs are measured with untrained"),
        ({"measurement": {"only": "promising"}}, "measurement.only: means nothing to kind 'measure'"),
        ({"measurement": {"near_front": "rank"}}, "measurement.near_front: means nothing to kind 'measure'"),
        ({"measurement": {"pairs": 0}}, "measurement.pairs: is 0"),
        ({"kind": "search"}, "supernet: needs either 'epochs' (train one) or 'checkpoint'"),
    ],
)
def test_what_a_table_of_costs_does_not_take_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(MEASURE | changes)), problems(MEASURE | changes)
