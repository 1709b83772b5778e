"""The agent's loop: keeps a connection, takes leases, has them measured, and answers until it is acknowledged.

Single-threaded on purpose: while a model is timed nothing else happens here. Everything it knows that matters lies on
disk, so it may be killed at any moment and started again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable

from edge_agent import __version__
from edge_agent.backoff import Backoff, poll_pause_s
from edge_agent.cache import DEFAULT_MAX_BYTES
from edge_agent.condition import Condition
from edge_agent.cooling import START_C
from edge_agent.delivery import FORBIDDEN_ADVICE, Delivery
from edge_agent.errors import (
    ArtifactError,
    EdgeError,
    ForbiddenError,
    LinkError,
    RefusedError,
    SpoolError,
    StoppedError,
)
from edge_agent.home import BoardConfig, Home
from edge_agent.identity import key_blob, key_sha256
from edge_agent.lifetime import StopSignal
from edge_agent.mailbox import Mailbox, open_mailbox
from edge_agent.records import (
    AgentSettings,
    Artifact,
    Heartbeat,
    Lease,
    RecordError,
    Result,
    UnreadableLeaseError,
    stable_hash,
)
from edge_agent.sentinel import Sentinel
from edge_agent.spool import Spool
from edge_agent.work import Workplace, answer, measure_lease, refusal

log = logging.getLogger("edge_agent")

_REREAD_S = 10.0
_MAX_REFUSALS = 5
_MAX_STARTS = 2
_SLOW_LINK_BYTES_S = 128 << 10  # what a fetch is announced by, since nothing is said meanwhile


class Agent:
    """One board's agent. `run` serves until it is asked to stop."""

    def __init__(
        self,
        home: Home,
        *,
        config: BoardConfig,
        incarnation: str,
        stop: StopSignal,
        local: bool = False,
        start_c: float = START_C,
        connect: Callable[[Home, BoardConfig], Mailbox] = open_mailbox,
        rng: random.Random | None = None,
    ) -> None:
        """Take what the agent works with; nothing is opened yet.

        Args:
            home: The board's folder, locked by the caller.
            config: The enrolment's outcome.
            incarnation: Who this agent is this time.
            stop: Ends `run`.
            local: Whether this board shares its machine with the service, which its results then say.
            start_c: How hot the board may be, in °C, when a long measurement begins.
            connect: Opens the mailbox.
            rng: Jitter.
        """
        self._home, self._config, self._incarnation, self._stop, self._local = home, config, incarnation, stop, local
        self._start_c, self._connect = start_c, connect
        rng = rng or random.Random()
        self._backoff, self._delivery = Backoff(rng=rng), Delivery(rng=rng)
        self._spool = Spool(home.spool_path)
        self._condition = Condition(home, self._spool)
        self._settings: AgentSettings | None = None
        self._server_ahead_s = 0.0
        self._bad_leases: dict[str, float] = {}
        self._fetched_beside: str | None = None
        self._beat_at = float("-inf")
        self._worked_at = float("-inf")
        state = stable_hash(self._condition.fingerprint)
        self._sentinel = Sentinel(work=home.work_path, kept=home.sentinel_path, state=state)

    def run(self) -> None:
        """Serve until asked to stop; broken links are taken up again.

        Raises:
            HostKeyError: If the server is another one; never retried.
            RefusedError: If the gateway refused this board several times in a row.
        """
        self._condition.find_sensor()
        while not self._stop.is_set():
            try:
                self._serve_one_connection()
            except RefusedError as error:
                if self._backoff.failures + 1 >= _MAX_REFUSALS:
                    raise
                self._wait_after(error)
            except LinkError as error:
                self._wait_after(error)
            except OSError as error:  # a full disk, most likely: what was not written will be done again
                self._wait_after(EdgeError(f"{self._disk_words(error)}; see nas-edge doctor"))

    def _wait_after(self, error: EdgeError) -> None:
        pause_s = self._backoff.next_s()
        log.warning("%s; trying again in %.1f s", error, pause_s)
        self._stop.wait(pause_s)

    def _serve_one_connection(self) -> None:
        mailbox = self._connect(self._home, self._config)
        try:
            self._begin_connection(mailbox)
            while not self._stop.is_set():
                worked = self._look(mailbox)
                self._backoff.reset()
                since_s = time.monotonic() - self._worked_at
                assert self._settings is not None
                self._stop.wait(0.0 if worked else poll_pause_s(poll_s=self._settings.poll_s, since_work_s=since_s))
            with contextlib.suppress(LinkError):
                self._beat(mailbox, state="stopping")
        finally:
            mailbox.close()

    def _read_settings(self, mailbox: Mailbox) -> None:
        try:
            self._settings = mailbox.read_settings()
        except RecordError as error:
            raise LinkError(f"the gateway's settings cannot be used: {error}") from None
        self._home.announce_host_key(self._settings.next_host_key)

    def _begin_connection(self, mailbox: Mailbox) -> None:
        self._read_settings(mailbox)
        assert self._settings is not None
        self._server_ahead_s = self._settings.host_unix_s - time.time()
        self._condition.try_storage()
        self._beat(mailbox)
        self._delivery.reconnected()
        log.info("connected as %s (class %s)", self._settings.board, self._settings.board_class)

    def _look(self, mailbox: Mailbox) -> bool:
        """Do what the inbox asks for; return whether a lease was worked on."""
        inbox = mailbox.list_inbox()
        for result_id in inbox.acknowledged:
            self._take_acknowledgement(mailbox, result_id)
        self._send_pending(mailbox)
        again_before = time.monotonic() - _REREAD_S
        self._bad_leases = {k: at for k, at in self._bad_leases.items() if k in inbox.lease_ids and at > again_before}
        leases = self._open_leases(mailbox, inbox.lease_ids)
        if not leases:
            self._beat_if_due(mailbox, look=True)
            return False
        self._work_on(mailbox, leases[0])
        self._worked_at = time.monotonic()
        return True

    def _take_acknowledgement(self, mailbox: Mailbox, result_id: str) -> None:
        if all(result.result_id != result_id for result in self._spool.pending()):
            return
        try:
            word = mailbox.read_acknowledgement(result_id)
        except RecordError as error:
            log.warning("acknowledgement of %s: %s", result_id, error)
            return
        if word is not None and self._spool.acknowledge(result_id):
            self._delivery.forget(result_id)
            if not word.stored:
                log.warning("the gateway refused result %s: %s", result_id, word.reason)

    def _send_pending(self, mailbox: Mailbox) -> None:
        now = time.monotonic()
        for result in self._spool.pending():
            if not self._delivery.is_due(result.result_id, now=now):
                continue
            try:
                mailbox.put_result(result)
            except ForbiddenError as error:  # the link is sound, so what follows need not wait for this one
                if self._delivery.forbidden(result.result_id, now=now):
                    log.warning("result %s waits: %s; %s", result.result_id, error, FORBIDDEN_ADVICE)
            else:
                self._delivery.wrote(result.result_id, now=now)

    def _open_leases(self, mailbox: Mailbox, lease_ids: tuple[str, ...]) -> list[Lease]:
        """Return the leases that are to be worked on, in their order."""
        leases = []
        for lease_id in lease_ids:
            if lease_id in self._bad_leases:
                continue
            try:
                lease = mailbox.read_lease(lease_id)
            except RecordError as error:
                self._bad_leases[lease_id] = time.monotonic()
                self._answer_unreadable(lease_id, error)
                continue
            if lease is not None and self._is_ours(lease):
                leases.append(lease)
        return sorted(leases, key=lambda lease: lease.token)

    def _answer_unreadable(self, lease_id: str, error: RecordError) -> None:
        """Say that a lease cannot be read, so that another board gets the request; one cut short is made whole soon."""
        stub = error.stub if isinstance(error, UnreadableLeaseError) else None
        log.error("lease %s is not readable and is %s: %s", lease_id, "answered so" if stub else "left alone", error)
        if stub is not None and not self._spool.is_answered(stub):
            cause = f"the lease cannot be read: {error}"
            identity = answer(stub, incarnation=self._incarnation)
            self._spool.add(refusal(identity, status="agent_error", fault="board", cause=cause))

    def _is_ours(self, lease: Lease) -> bool:
        late = time.time() + self._server_ahead_s >= lease.deadline_unix_s
        return lease.board == self._config.board and not late and not self._spool.is_answered(lease)

    def _work_on(self, mailbox: Mailbox, lease: Lease) -> None:
        log.info("lease %s: %s of %s at tier %s", lease.lease_id, lease.half, lease.model.sha256[:12], lease.tier)
        try:
            starts = self._spool.begin(lease)
            result = self._result(mailbox, lease, starts=starts)
        except (StoppedError, SpoolError) as error:
            result = self._infra_fault(lease, str(error))
        except OSError as error:
            result = self._infra_fault(lease, f"the board's disk fails: {self._disk_words(error)}")
        except LinkError:
            self._spool.forget_begun(lease)
            raise
        self._spool.add(result)
        log.info("lease %s: %s %s", lease.lease_id, result.status, result.cause or "")
        with contextlib.suppress(LinkError):
            self._send_pending(mailbox)
            self._beat(mailbox)

    def _infra_fault(self, lease: Lease, cause: str) -> Result:
        identity = answer(lease, incarnation=self._incarnation)
        return refusal(identity, status="agent_error", fault="infra", cause=cause)

    def _disk_words(self, error: OSError) -> str:
        return f"{error.filename or self._home.root}: {error.strerror or error}"

    def _result(self, mailbox: Mailbox, lease: Lease, *, starts: int) -> Result:
        identity = answer(lease, incarnation=self._incarnation)
        if starts > _MAX_STARTS:
            cause = f"the agent did not live to the end of this measurement {starts - 1} times"
            return refusal(identity, status="agent_error", fault="unknown", cause=cause)
        left_s = lease.deadline_unix_s - time.time() - self._server_ahead_s
        give_up_at = time.monotonic() + left_s
        try:
            self._announce_fetch(mailbox, lease, lease.model)
            model = mailbox.fetch_artifact(lease.model)
        except ArtifactError as error:
            return refusal(identity, status="agent_error", fault="infra", cause=str(error))
        return measure_lease(
            identity,
            lease=lease,
            model=model,
            place=Workplace(
                work=self._home.work_path,
                sensor=self._condition.sensor,
                sentinel=self._sentinel,
                local=self._local,
                start_c=self._start_c,
            ),
            stop=self._stop,
            give_up_at=give_up_at,
            beat=lambda quiet_s: self._beat_while_working(mailbox, lease, quiet_s),
            cooling=lambda: self._beat_while_working(mailbox, lease, None, state="cooling"),
        )

    def _beat_while_working(
        self, mailbox: Mailbox, lease: Lease, quiet_s: float | None, *, state: str = "measuring"
    ) -> None:
        """Do the traffic that a measurement allows; a broken link does not spoil the measurement."""
        self._fetch_ahead(mailbox, lease)
        with contextlib.suppress(LinkError):
            if quiet_s is not None:
                self._beat(mailbox, state="measuring", lease=lease, quiet_s=quiet_s)
            else:
                self._beat_if_due(mailbox, state=state, lease=lease)

    def _fetch_ahead(self, mailbox: Mailbox, lease: Lease) -> None:
        """Have the artefact of the lease after this one here before timing begins, so that the board need not wait.

        What goes wrong is left for its own turn. Artefacts that do not fit into the cache together wait for theirs.
        """
        if self._fetched_beside == lease.lease_id:
            return
        with contextlib.suppress(LinkError, ArtifactError):
            coming = [
                one for one in self._open_leases(mailbox, mailbox.list_inbox().lease_ids) if one.token > lease.token
            ]
            if coming and coming[0].model.size_bytes + lease.model.size_bytes <= DEFAULT_MAX_BYTES:
                self._fetched_beside = lease.lease_id
                self._announce_fetch(mailbox, lease, coming[0].model)
                mailbox.fetch_artifact(coming[0].model)

    def _announce_fetch(self, mailbox: Mailbox, lease: Lease, model: Artifact) -> None:
        """Say that a fetch over a slow link may keep us from sending word, so that the lease is not given away."""
        self._beat(mailbox, state="fetching", lease=lease, quiet_s=model.size_bytes / _SLOW_LINK_BYTES_S)

    def _beat_if_due(
        self, mailbox: Mailbox, *, state: str = "idle", lease: Lease | None = None, look: bool = False
    ) -> None:
        assert self._settings is not None
        if time.monotonic() - self._beat_at >= self._settings.heartbeat_s:
            if look:
                self._read_settings(mailbox)
                self._condition.notice(mailbox.read_heartbeat(), incarnation=self._incarnation)
                self._condition.try_storage()
            self._beat(mailbox, state=state, lease=lease)

    def _beat(
        self, mailbox: Mailbox, *, state: str = "idle", lease: Lease | None = None, quiet_s: float | None = None
    ) -> None:
        now, announced = time.time(), self._home.next_host_key()
        heartbeat = Heartbeat.from_dict(
            {
                "board": self._config.board,
                "incarnation": self._incarnation,
                "state": state,
                "sent_unix_s": now,
                "quiet_until_unix_s": None if quiet_s is None else now + self._server_ahead_s + quiet_s,
                "lease_id": lease.lease_id if lease else None,
                "agent_version": __version__,
                "next_host_key_sha256": None if announced is None else key_sha256(key_blob(announced)),
                **self._condition.fields(),
            }
        )
        server_unix_s = mailbox.put_heartbeat(heartbeat)
        if server_unix_s is not None:
            self._server_ahead_s = server_unix_s - time.time()
        self._beat_at = time.monotonic()
