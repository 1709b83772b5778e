from __future__ import annotations

from typing import Any

from cluster.training_phase import train_config, tuning_config
from nas_service.job import JobSpec, parse_job
from nas_service.job_cotraining import CoTraining as Said
from workers.cotraining.terms import CoTraining, Phases
from workers.train_config import TrainConfig


def spec(terms: dict[str, Any] | None = None, **finalists: int) -> JobSpec:
    supernet = {"epochs": 4, "learning_rate": 0.2} | ({} if terms is None else {"cotraining": terms})
    return parse_job(
        {
            "kind": "search",
            "name": "terms",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro"},
            "strategy": {"name": "random", "evaluations": 8},
            "objectives": ["error", "macs"],
            "supernet": supernet,
            "finalists": finalists,
        }
    )


def test_a_job_without_terms_trains_by_the_defaults():
    assert train_config(spec()) == TrainConfig(epochs=4, learning_rate=0.2)
    assert tuning_config(spec()) is None


def test_a_jobs_terms_reach_the_trainer():
    config = train_config(spec({"teacher": "ensemble", "router": 1, "distillation": 0, "phases": {"warm_up": 0.25}}))
    assert config.distillation == 0
    assert config.cotraining == CoTraining(teacher="ensemble", router=1, phases=Phases(warm_up=0.25, joint=0.75))


def test_finalists_are_tuned_by_the_same_terms_in_the_last_phase_at_a_tenth_of_the_rate():
    tuning = tuning_config(spec({"gate": 0.1, "phases": {"warm_up": 0.5}}, fine_tune_epochs=3))
    assert tuning is not None
    assert (tuning.epochs, tuning.learning_rate) == (3, 0.02)
    assert tuning.cotraining == CoTraining(gate=0.1, phases=Phases(joint=0, fine_tune=1))


def test_a_job_can_say_all_that_the_trainer_knows():
    trainer = {"distillation", "little_distillation", "temperature", *CoTraining().to_dict()}
    assert set(Said.model_fields) == trainer


def test_how_a_batch_is_run_reaches_the_trainer_and_the_fine_tuning():
    job = spec(fine_tune_epochs=1).to_dict()
    job["supernet"] |= {"accumulate": 4, "compile": True}
    config, tuning = train_config(parse_job(job)), tuning_config(parse_job(job))
    assert (config.accumulate, config.compile) == (4, True)
    assert tuning is not None
    assert (tuning.accumulate, tuning.compile) == (4, True)
