"""`python -m cluster.benchmarks.simulated_boards KEYS MAILBOXES PORT WORK_S`: many boards in a process, over real SSH.

KEYS holds a private key for each board, named for it. On the wire a board does what the agent does: it lists its inbox
at the agent's own pace, beats every 10 s, reads a lease, is silent as long as a measurement takes, hands in a result as
`.part` and renames it. One line of JSON says that all are connected; when stdin ends, another one has the seconds from
each lease written, by the time of the gateway's file below MAILBOXES, to the same lease read.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import asyncssh

from edge_agent.backoff import poll_pause_s
from edge_agent.mailbox import parse_inbox
from edge_agent.records import Heartbeat, Latency, Lease, Result

HEARTBEAT_S = 10.0
CONNECTING_AT_ONCE = 8


class Board:
    """One board's connection and what it waited for."""

    def __init__(self, sftp: asyncssh.SFTPClient, *, mailbox: Path, work_s: float, rng: random.Random) -> None:
        """Take an open session, its mailbox on the gateway's side, and how long a measurement lasts."""
        self._sftp, self._mailbox, self._work_s, self._rng = sftp, mailbox, work_s, rng
        self.waits_s: list[float] = []
        self._worked_at = float("-inf")
        self._beat_at = float("-inf")

    async def live(self, over: asyncio.Event) -> None:
        """Look into the inbox until it is over."""
        await asyncio.sleep(self._rng.uniform(0.0, 2.0))
        answered: set[str] = set()
        while not over.is_set():
            inbox = parse_inbox([str(name) for name in await self._sftp.listdir("/inbox")])
            fresh = sorted(set(inbox.lease_ids) - answered)
            if fresh:
                answered.add(fresh[0])
                await self._work(fresh[0])
                continue
            if time.monotonic() - self._beat_at >= HEARTBEAT_S:
                await self.beat("idle")
            await asyncio.sleep(poll_pause_s(poll_s=1.0, since_work_s=time.monotonic() - self._worked_at))

    async def _work(self, lease_id: str) -> None:
        name = f"lease-{lease_id}.json"
        async with self._sftp.open(f"/inbox/{name}", "rb") as file:
            lease = Lease.from_json(await file.read())
        written_at = (self._mailbox / "inbox" / name).stat().st_mtime
        self.waits_s.append(time.time() - written_at)
        await self.beat("measuring", lease_id=lease_id)
        await asyncio.sleep(self._work_s)
        result = _result(lease)
        await self._write(f"/outbox/{result.result_id}.json", result.to_json())
        await self.beat("idle")
        self._worked_at = time.monotonic()

    async def beat(self, state: str, *, lease_id: str | None = None) -> None:
        """Say what the board does."""
        said = {"board": self._mailbox.name, "incarnation": "simulated", "state": state, "sent_unix_s": time.time(),
                "lease_id": lease_id, "agent_version": "bench"}  # fmt: skip
        await self._write("/heartbeat.json", Heartbeat.from_dict(said).to_json())
        self._beat_at = time.monotonic()

    async def _write(self, path: str, text: str) -> None:
        async with self._sftp.open(f"{path}.part", "wb") as file:
            await file.write(text.encode())
        await self._sftp.posix_rename(f"{path}.part", path)


def _result(lease: Lease) -> Result:
    latency = Latency(
        n=64, duration_s=1.0, mean_ms=1.0, median_ms=1.0, min_ms=1.0, max_ms=1.0, cv=0.0, mean_ci95_low_ms=1.0,
        mean_ci95_high_ms=1.0, warmup_n=10, cold_start_ms=1.0,
    )  # fmt: skip
    return Result(
        result_id=f"r-{lease.lease_id}",
        lease_id=lease.lease_id,
        token=lease.token,
        attempt=lease.attempt,
        board=lease.board,
        board_class=lease.board_class,
        incarnation="simulated",
        measurement_key=lease.measurement_key,
        structure_key=lease.structure_key,
        model_sha256=lease.model.sha256,
        tier=lease.tier,
        half=lease.half,
        status="ok",
        latency=latency,
        finished_unix_s=time.time(),
    )


async def _run(keys: Path, mailboxes: Path, port: int, work_s: float) -> None:
    over, gate, rng = asyncio.Event(), asyncio.Semaphore(CONNECTING_AT_ONCE), random.Random(0)

    async def connect(key: Path) -> Board:
        """Return the connected board of a key."""
        async with gate:
            link = await asyncssh.connect(
                "127.0.0.1", port, username=key.name, client_keys=[str(key)], known_hosts=None, config=None,
                agent_path=None, keepalive_interval=15,
            )  # fmt: skip
            board = Board(
                await link.start_sftp_client(),
                mailbox=mailboxes / key.name,
                work_s=work_s,
                rng=random.Random(rng.random()),
            )
            await board.beat("idle")
            return board

    boards = await asyncio.gather(*(connect(key) for key in sorted(keys.iterdir())))
    lives = [asyncio.create_task(board.live(over)) for board in boards]
    print(json.dumps({"connected": len(boards)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    await asyncio.gather(*lives, return_exceptions=True)
    failed = sum(life.exception() is not None for life in lives)
    print(json.dumps({"waits_s": [wait for board in boards for wait in board.waits_s], "failed": failed}), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
