"""The evaluator: holds a trained supernet and the images to score on, and answers for one candidate after another.

A candidate that fails is an answer, not an exception: whatever went wrong is in its report.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from nas_service.bar import Bar
from nas_service.curve import Curve
from nas_service.pair_space import PairSpace, SpaceDefinition
from workers.bundle import BundleOptions, build_bundle
from workers.checkpoint import Checkpoint, load_weights
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import Evaluation, EvaluationContext, EvaluationData, evaluate, recalibrate
from workers.export import export_big, export_little
from workers.network import Pair
from workers.quantize.choice import choosing_int8
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training import fine_tune

Half = Literal["little", "big"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateReport:
    """What evaluating one candidate gave.

    Attributes:
        status: `ok` or `failed`.
        error: Why it failed, else None.
        accuracies: `little` and `big` (everything escalated) in percent of `n` validation images, out of `of`: fewer
            where the evaluation ended early, since nothing was worth having.
        curve: `Curve.to_bytes` of the router asked for.
        models: ONNX files of the halves asked for.
        split_hashes: SHA-256 by data split.
        seconds: `extract`, `recalibrate`, `infer`, `export` and `total`.
    """

    status: Literal["ok", "failed"]
    error: str | None = None
    accuracies: dict[str, float] = field(default_factory=dict)
    curve: bytes | None = field(default=None, repr=False)
    models: dict[str, bytes] = field(default_factory=dict, repr=False)
    split_hashes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistReport:
    """What finishing one candidate gave.

    Attributes:
        status: `ok` or `failed`.
        error: Why it failed, else None.
        bundle: The zip.
        manifest: `Manifest.to_dict` of it, with every operating point's calibration and test figures.
        models: ONNX files by half, the bundle's own.
        accuracies: `little` and `big` in percent of the `n` test images.
        calibration_curve: `Curve.to_bytes`.
        test_curve: `Curve.to_bytes`.
        notes: What was asked for and could not be had, in words.
        packs: Pair packs by precision, if they were asked for.
        seconds: `fine_tune`, `bundle` and `total`.
    """

    status: Literal["ok", "failed"]
    error: str | None = None
    bundle: bytes | None = field(default=None, repr=False)
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)
    models: dict[str, bytes] = field(default_factory=dict, repr=False)
    accuracies: dict[str, float] = field(default_factory=dict)
    calibration_curve: bytes | None = field(default=None, repr=False)
    test_curve: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    packs: dict[str, bytes] = field(default_factory=dict, repr=False)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing:
    """How finalists are finished.

    Attributes:
        bundle: What goes into the bundle.
        tuning: How to fine-tune; None keeps the supernet's weights.
        tuned: The last checkpoint of `EvaluatorCore.fine_tuning`; what it lacks of the fine-tuning is done at last.
    """

    bundle: BundleOptions
    tuning: TrainConfig | None = None
    tuned: bytes | None = field(default=None, repr=False)


class EvaluatorCore:
    """Evaluates candidates of one job.

    Args:
        definition: The job's space.
        checkpoint: Bytes of the trained supernet's checkpoint.
        data: The images, as `EvaluationData.of(dataset, splits)` makes them once for all evaluators.
        threads: Threads of this process.
        device: Where to run, as torch writes it.

    Raises:
        InvalidRequestError: the checkpoint is damaged or of another space.
    """

    def __init__(
        self,
        definition: SpaceDefinition,
        *,
        checkpoint: bytes,
        data: EvaluationData,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        torch.set_num_threads(threads)
        _, channels, resolution, _ = data.images.shape
        self.space = PairSpace(definition, channels=channels, resolution=resolution, classes=data.classes)
        self._supernet = Supernet(self.space)
        load_weights(self._supernet, Checkpoint.from_bytes(checkpoint))
        self._supernet.to(device)
        self._context = EvaluationContext(data, device=device)
        self._split_hashes, self._device = data.split_hashes, device

    def evaluate(
        self,
        architecture: Mapping[str, Any],
        *,
        router: str,
        export: Collection[Half] = (),
        bar: Bar | None = None,
    ) -> CandidateReport:
        """Return the report of one candidate; it never raises.

        Args:
            architecture: A point of the space.
            router: Whose curve to report; its score is part of an exported little.
            export: The halves whose ONNX files are wanted, unless the evaluation ends early.
            bar: What ends it early: no point that may be worth having. None never does.
        """
        started = time.perf_counter()
        total = len(self._context.labels)
        try:
            evaluation = evaluate(
                self._supernet,
                self.space.plan(architecture),
                self._context,
                parts=() if bar is None else bar.parts,
                hopeless=lambda outputs: bar is not None and bar.out_of_reach(outputs.curve(router)),
            )
            curve = evaluation.outputs.curve(router)
            exporting = time.perf_counter()
            models = _export(evaluation, router=router, halves=export if curve.n == total else ())
        except Exception as error:
            return CandidateReport(status="failed", error=_reason(error), split_hashes=self._split_hashes)
        finished = time.perf_counter()
        return CandidateReport(
            status="ok",
            accuracies={**_percent(curve), "of": float(total)},
            curve=curve.to_bytes(),
            models=models,
            split_hashes=self._split_hashes,
            seconds={**evaluation.seconds, "export": finished - exporting, "total": finished - started},
        )

    def finalist(
        self,
        architecture: Mapping[str, Any],
        *,
        candidate: str,
        dataset: Dataset,
        splits: Splits,
        finishing: Finishing,
        costs: Mapping[str, tuple[float, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Iterator[EpochReport | FinalistReport]:
        """Fine-tune one candidate if told to, choose its thresholds, and yield its bundle at last; it never raises.

        Before that, it yields after every epoch of fine-tuning for int8, if that is wanted and of use.

        Args:
            architecture: A point of the space.
            candidate: Its id.
            dataset: The whole data set.
            splits: Its splits; the test split is run once.
            finishing: How it is finished.
            costs: Measured costs by objective: the little's, and what the tail adds.
            provenance: What else the bundle says of its origin.
        """
        started = time.perf_counter()
        try:
            tuning = finishing.tuning
            pair = self._finished(architecture, dataset, splits, finishing)
            bundling = time.perf_counter()
            origin = {**(provenance or {}), "fine_tune": None if tuning is None else tuning.to_dict()}
            int8, quantised = finishing.bundle.int8, None
            if int8 is not None:
                quantised = yield from choosing_int8(pair, dataset, splits, config=int8)
            bundle = build_bundle(
                pair,
                dataset,
                splits,
                finishing.bundle,
                quantised=quantised,
                candidate=candidate,
                costs=costs,
                provenance=origin,
            )
        except Exception as error:
            yield FinalistReport(status="failed", error=_reason(error))
            return
        finished = time.perf_counter()
        yield FinalistReport(
            status="ok",
            bundle=bundle.data,
            manifest=bundle.manifest.to_dict(),
            models=bundle.models,
            accuracies=_percent(bundle.test),
            calibration_curve=bundle.calibration.to_bytes(),
            test_curve=bundle.test.to_bytes(),
            notes=bundle.notes,
            packs=bundle.packs,
            seconds={"fine_tune": bundling - started, "bundle": finished - bundling, "total": finished - started},
        )

    def fine_tuning(
        self,
        architecture: Mapping[str, Any],
        *,
        dataset: Dataset,
        splits: Splits,
        tuning: TrainConfig,
        resume: bytes | None = None,
    ) -> Iterator[EpochReport]:
        """Fine-tune a copy of the supernet on one pair and yield after every epoch, as `workers.training.fine_tune`."""
        plan, supernet = self.space.plan(architecture), copy.deepcopy(self._supernet)
        yield from fine_tune(supernet, plan, dataset, splits, tuning, resume=resume, device=self._device)

    def _finished(
        self,
        architecture: Mapping[str, Any],
        dataset: Dataset,
        splits: Splits,
        finishing: Finishing,
    ) -> Pair:
        plan, supernet = self.space.plan(architecture), self._supernet
        if (tuning := finishing.tuning) is not None:
            supernet = copy.deepcopy(supernet)
            for _ in fine_tune(supernet, plan, dataset, splits, tuning, resume=finishing.tuned, device=self._device):
                pass
        pair = supernet.extract(plan)
        recalibrate(pair, self._context.recalibration)
        return pair


def _export(evaluation: Evaluation, *, router: str, halves: Collection[Half]) -> dict[str, bytes]:
    models: dict[str, bytes] = {}
    if "little" in halves:
        models["little"] = export_little(evaluation.pair, router=evaluation.outputs.fitted(router))
    if "big" in halves:
        models["big"] = export_big(evaluation.pair)
    return models


def _percent(curve: Curve) -> dict[str, float]:
    """Return the accuracies of never and of always escalating, in percent."""
    return {"little": 100 * float(curve.accuracy[0]), "big": 100 * float(curve.accuracy[-1]), "n": float(curve.n)}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
