"""A campaign: requests, boards that answer them, and faults at random until all is answered."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cluster.faults.faults import FAULTS, WEIGHTS, Stage
from cluster.faults.link import Wire
from cluster.faults.processes import BoardProcess, Broker
from cluster.faults.tally import Tally, tally
from edge_agent.records import Artifact, stable_hash
from nas_service.errors import RetryableError
from nas_service.home import Home
from nas_service.measurement import MeasurementRequest, RequestStatus
from nas_service.store import Store

log = logging.getLogger(__name__)

BOARD_CLASS = "faulty"
SETTLE_S = 180.0
MODELS = 8
MODEL_BYTES = 200_000


class Campaign:
    """One gateway with its boards under faults; `run` returns the outcome."""

    def __init__(self, folder: Path, *, results: int, seed: int, boards: int, pause_s: float = 0.7) -> None:
        """Take an empty folder and the size of the campaign; `pause_s` is the mean time between two faults."""
        self._folder, self._results, self._pause_s = folder, results, pause_s
        self._rng = random.Random(seed)
        self._names = tuple(f"board-{number}" for number in range(boards))
        self._broker = Broker(folder / "nas", names=self._names, board_class=BOARD_CLASS)
        self._boards: list[BoardProcess] = []
        self._faults: Counter[str] = Counter()
        self._asked_anew = 0

    def run(self) -> Tally:
        """Bring all up, injure it until every request is answered, and count."""
        begun = time.monotonic()
        home = Home(self._folder / "nas").create()
        with Store.open(home) as store:
            try:
                self._bring_up()
                requests = self._ask(store)
                keys = [request.measurement_key for request in requests]
                self._injure(store, requests)
                self._settle(store, requests)
                return self._count(store, keys, seconds=time.monotonic() - begun)
            finally:
                self._tear_down()

    def _bring_up(self) -> None:
        codes = self._broker.begin()
        for name in self._names:
            board = BoardProcess(name, self._folder / name, wire=Wire(self._broker.port))
            self._boards.append(board)
            board.enroll(codes[name])
            board.start()

    def _ask(self, store: Store) -> list[MeasurementRequest]:
        models = [self._rng.randbytes(MODEL_BYTES) for _ in range(MODELS)]
        stored = [Artifact(sha256=store.files.put(model), size_bytes=len(model)) for model in models]
        requests = [
            MeasurementRequest(
                structure_key=stable_hash(number),
                board_class=BOARD_CLASS,
                tier="probe",
                half="little",
                model=stored[number % MODELS],
            )
            for number in range(self._results)
        ]
        store.fleet.request(requests, now=time.time())
        return requests

    def _injure(self, store: Store, requests: Sequence[MeasurementRequest]) -> None:
        while not self._all_done(store, requests):
            board = self._rng.choice(self._boards)
            [kind] = self._rng.choices(list(FAULTS), weights=[WEIGHTS.get(name, 1.0) for name in FAULTS])
            log.info("%s on %s", kind, board.name)
            FAULTS[kind](Stage(self._broker, self._folder / "nas" / "gateway" / "boards", board, self._rng))
            self._faults[kind] += 1
            self._revive()
            time.sleep(self._rng.expovariate(1.0 / self._pause_s))

    def _revive(self) -> None:
        """Start again what died, as systemd does for the agent and Ray for the gateway."""
        if not self._broker.runs:
            self._broker.restart()
        for board in self._boards:
            if not board.runs:
                board.start()

    def _all_done(self, store: Store, requests: Sequence[MeasurementRequest]) -> bool:
        """Return whether every request is done; one that was given up is asked for again."""
        try:
            states = store.fleet.states([request.measurement_key for request in requests])
            failed = [r for r in requests if states[r.measurement_key].state is RequestStatus.FAILED]
            if failed:
                log.info("given up: %s", states[failed[0].measurement_key].cause)
                self._asked_anew += len(failed)
                store.fleet.request(failed, now=time.time())
        except RetryableError as error:
            log.info("%s", error)
            return False
        return all(state.state is RequestStatus.DONE for state in states.values())

    def _settle(self, store: Store, requests: Sequence[MeasurementRequest]) -> None:
        """Let everything mend, and the boards hand in what they still have."""
        for board in self._boards:
            board.wire.come_back()
        give_up_at = time.monotonic() + SETTLE_S
        while time.monotonic() < give_up_at:
            self._revive()
            if self._all_done(store, requests) and not any(board.spooled() for board in self._boards):
                return
            time.sleep(0.5)

    def _count(self, store: Store, keys: Sequence[str], *, seconds: float) -> Tally:
        made: dict[str, str] = {}
        for board in self._boards:
            made |= board.made()
        known = {result_id: lease for result_id, lease in made.items() if _was_acknowledged(self._folder, result_id)}
        return tally(
            keys,
            states=store.fleet.states(list(keys)),
            measured=store.fleet.measurements(limit=100 * self._results),
            handed_in=known,
            faults=self._faults,
            asked_anew=self._asked_anew,
            seconds=seconds,
        )

    def _tear_down(self) -> None:
        for board in self._boards:
            board.wire.come_back()
            board.stop()
            board.wire.close()
        self._broker.stop()


def _was_acknowledged(folder: Path, result_id: str) -> bool:
    return any((folder / "nas" / "gateway" / "boards").glob(f"*/inbox/ack-{result_id}.json"))
