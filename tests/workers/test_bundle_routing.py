"""Bundles with fitted routers: the graph scores as torch does, promises are what boards get, the test split is last."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nas_service.presets import MICRO
from tests.workers.test_export import run, session
from workers.bundle import Bundle, BundleOptions, build_bundle
from workers.data.augment import normalise
from workers.data.splits import Splits
from workers.evaluation import fold, recalibrate
from workers.evaluator import EvaluatorCore, Finishing
from workers.export import ExportedPair, export_little
from workers.network import Pair
from workers.routers import Router
from workers.routing import choice
from workers.routing.choice import Risk, Routing, RoutingOptions
from workers.routing.learned import RouterData, fit_learned_router
from workers.train_config import TrainConfig

EVERYTHING = RoutingOptions(class_thresholds=True, risk=Risk(epsilon=0.4, delta=0.3))


@pytest.fixture(scope="module")
def pair(trained, context) -> Pair:
    """A pair of small halves, so that there is something to mend."""
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme("stem", largest=False)))
    recalibrate(pair, context.recalibration)
    return pair


@pytest.fixture(scope="module")
def wide(splits) -> Splits:
    """Splits that calibrate on the weights, too, so that every class has images enough for a threshold of its own."""
    return dataclasses.replace(splits, calibration=np.sort(np.concatenate([splits.calibration, splits.weights])))


@pytest.fixture(scope="module")
def bundle(pair, digits, wide) -> Bundle:
    return build_bundle(pair, digits, wide, BundleOptions(router="learned", routing=EVERYTHING), candidate="c")


def learned(logits: torch.Tensor) -> Router:
    benefit = torch.arange(len(logits)) % 3 == 0
    return Router(name="learned", learned=fit_learned_router(RouterData(logits=logits, benefit=benefit)))


@pytest.mark.parametrize("name", ["msp", "margin", "entropy", "learned"])
def test_torch_and_the_graph_take_the_same_route_for_999_of_1000_random_images(pair, digits, name):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1000, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images = normalise(pixels, digits.mean, digits.std).contiguous()
    with torch.inference_mode():
        logits = fold(pair)(images)[0]
    router = learned(logits) if name == "learned" else Router(name=name, temperature=1.7)
    little, want = session(export_little(pair, router=router)), router.scores(logits)
    rows = [little.run(["logits", "score"], {"image": image[None].numpy()}) for image in images]
    got, labels = np.concatenate([r[1] for r in rows]), np.concatenate([r[0] for r in rows]).argmax(1)
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)
    assert (labels == logits.argmax(1).numpy()).all()
    for share in (0.1, 0.5, 0.9):
        threshold = np.quantile(want, share)
        assert ((got < threshold) == (want < threshold)).mean() >= 0.999


def test_every_promise_is_what_the_graphs_give_on_the_images_that_chose_and_on_test(bundle, digits, wide):
    held_out = torch.from_numpy(wide.calibration[1::2])
    images = {
        "calibration": (digits.train_images[held_out], digits.train_labels[held_out]),
        "test": (digits.test_images, digits.test_labels),
    }
    kinds = set()
    for split, (pixels, labels) in images.items():
        got = run(ExportedPair(**bundle.models), normalise(pixels, digits.mean, digits.std).contiguous().numpy())
        little = got["little"].argmax(1)
        for point in bundle.manifest.operating_points:
            named = {"never": -np.inf, "always": np.inf}
            limit = named.get(point.threshold, point.threshold) if isinstance(point.threshold, str) else point.threshold
            escalated = got["score"] < np.broadcast_to(np.asarray(limit), (10,))[little]
            made = getattr(point, split)
            right = np.where(escalated, got["big"].argmax(1), little) == labels.numpy()
            assert (made.n, made.accuracy) == (len(labels), pytest.approx(right.mean()))
            assert made.escalation_rate == pytest.approx(escalated.mean())
            kinds.add(type(point.threshold))
    assert kinds == {str, float, tuple}


def test_the_manifest_says_how_the_router_was_fitted(bundle, wide):
    assert bundle.manifest.router == "learned"
    routing, half = bundle.manifest.provenance["routing"], len(wide.calibration) // 2
    assert (routing["taught"], routing["halved"], routing["choose_n"]) == (True, True, half)
    assert routing["risk"]["calibration_n"] == half


def test_the_same_data_give_the_same_bytes(bundle, pair, digits, wide):
    again = build_bundle(pair, digits, wide, BundleOptions(router="learned", routing=EVERYTHING), candidate="c")
    assert again.data == bundle.data


class Sealed(torch.Tensor):
    """A tensor that cannot be touched while it is sealed."""

    is_sealed = False

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if cls.is_sealed:
            raise AssertionError("the test split was touched before everything was chosen")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.fixture
def sealed(digits, monkeypatch):
    """The digits with a sealed test part."""
    made = dataclasses.replace(
        digits,
        test_images=digits.test_images.as_subclass(Sealed),
        test_labels=digits.test_labels.as_subclass(Sealed),
    )
    monkeypatch.setattr(Sealed, "is_sealed", True)
    return made


def finish(core: EvaluatorCore, dataset, splits, router: str):
    *_, report = core.finalist(
        core.space.extreme("stem", largest=False),
        candidate="c",
        dataset=dataset,
        splits=splits,
        finishing=Finishing(
            bundle=BundleOptions(router=router, routing=EVERYTHING),
            tuning=TrainConfig(epochs=1, batch_size=128, learning_rate=0.01),
        ),
    )
    return report


@pytest.fixture(scope="module")
def core(trained, data) -> EvaluatorCore:
    return EvaluatorCore(MICRO, checkpoint=trained[1], data=data)


@pytest.mark.parametrize("router", ["msp", "learned"])
def test_no_router_temperature_or_threshold_of_a_finalist_touches_the_test_split(
    core, sealed, splits, router, monkeypatch
):
    def chosen(**values) -> Routing:
        """Return what `choose_routing` returns: when there is one, everything is chosen."""
        Sealed.is_sealed = False
        return Routing(**values)

    monkeypatch.setattr(choice, "Routing", chosen)
    report = finish(core, sealed, splits, router)
    assert (report.status, report.error) == ("ok", None)
    assert report.accuracies["n"] == len(splits.test)


def test_touching_the_test_split_earlier_would_have_been_noticed(core, sealed, splits):
    report = finish(core, sealed, splits, "msp")
    assert report.status == "failed"
    assert "touched before everything was chosen" in report.error
