"""The SSH server against real clients: paramiko's, and OpenSSH's own `sftp`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from cluster.gateway.gateway import Gateway
from edge_agent.records import EnrolmentAnswer, EnrolmentRequest, Lease
from nas_service.errors import ConflictError
from nas_service.home import Home
from nas_service.store import Store
from tests.cluster.gateway.client import BoardKey, log_in, make_key, sftp_of, stock_sftp, transport
from tests.cluster.gateway.conftest import enrolled
from tests.cluster.gateway.processes import wait_for
from tests.cluster.gateway.samples import heartbeat, wanted

pytestmark = pytest.mark.ssh


@pytest.fixture
def mailbox(home: Home, board_key: BoardKey) -> Path:
    folder = home.boards / "pi-1"
    wait_for("the mailbox", lambda: (folder / "agent.json").exists())
    return folder


def test_stock_openssh_client_lists_its_inbox_and_fetches_an_artefact(
    gateway: Gateway, board_key: BoardKey, store: Store, mailbox: Path, tmp_path: Path
) -> None:
    data = b"onnx" * 500_000
    sha = gateway.store_artifact(data)
    store.fleet.heartbeats([(heartbeat("pi-1"), time.time())])
    [state] = gateway.request([wanted(sha, size_bytes=len(data))])
    wait_for("the lease", lambda: list((mailbox / "inbox").iterdir()))
    commands = (
        "ls",
        "cd inbox",
        "ls -l",
        "cd ..",
        "pwd",
        "get agent.json",
        "get inbox/lease-*",
        f"get artifacts/{sha}",
    )
    done = stock_sftp(gateway, "pi-1", board_key, *commands, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Remote working directory: /\n" in done.stdout
    assert (tmp_path / sha).read_bytes() == data
    [lease] = [Lease.from_json(path.read_bytes()) for path in tmp_path.glob("lease-*")]
    assert (lease.measurement_key, lease.model.sha256) == (state.measurement_key, sha)
    assert json.loads((tmp_path / "agent.json").read_text())["board"] == "pi-1"


def test_stock_openssh_client_hands_in_a_result_and_is_answered(
    gateway: Gateway, board_key: BoardKey, mailbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_text("{}")
    commands = ("put r.json outbox/r1.json.part", "rename outbox/r1.json.part outbox/r1.json")
    done = stock_sftp(gateway, "pi-1", board_key, *commands, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = wait_for("the answer", lambda: (mailbox / "inbox" / "ack-r1.json").exists())
    assert answer
    said = json.loads((mailbox / "inbox" / "ack-r1.json").read_text())
    assert said["stored"] is False
    assert "lacks" in said["reason"]
    assert not (mailbox / "outbox" / "r1.json").exists()


@pytest.mark.parametrize(
    "command",
    [
        "put r.json inbox/lease-x.json",
        "put r.json outbox/r1.json",
        "put r.json agent.json",
        "put r.json ../../../../tmp/x.json",
        "get ../host_key stolen",
        "get /etc/passwd stolen",
        "mkdir outbox/new",
        "rmdir inbox",
        "rm agent.json",
        "rename agent.json outbox/r1.json",
        "symlink /etc/passwd outbox/r1.json.part",
        "ln agent.json outbox/r1.json.part",
        "chmod 777 agent.json",
        "df",
    ],
)
def test_stock_openssh_client_is_refused(
    gateway: Gateway, board_key: BoardKey, mailbox: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "r.json").write_text("{}")
    before = sorted(str(p) for p in mailbox.rglob("*"))
    done = stock_sftp(gateway, "pi-1", board_key, command, folder=tmp_path)
    assert done.returncode == 1
    assert sorted(str(p) for p in mailbox.rglob("*")) == before
    assert not (tmp_path / "stolen").exists()


def test_link_planted_on_the_server_is_not_followed(gateway: Gateway, board_key: BoardKey, mailbox: Path) -> None:
    (mailbox / "outbox" / "r1.json.part").symlink_to(mailbox / "agent.json")
    with log_in(gateway, "pi-1", board_key) as opened:
        with pytest.raises(OSError, match=r"[Ll]ink|levels|Failure|loop"):
            sftp_of(opened).open("/outbox/r1.json.part", "r").read()


def shell(session: paramiko.Channel) -> None:
    session.invoke_shell()


def execute(session: paramiko.Channel) -> None:
    session.exec_command("id")


def terminal(session: paramiko.Channel) -> None:
    session.get_pty()


def x11(session: paramiko.Channel) -> None:
    session.request_x11()


def other_subsystem(session: paramiko.Channel) -> None:
    session.invoke_subsystem("netconf")


@pytest.mark.parametrize("ask", [shell, execute, terminal, x11, other_subsystem])
def test_nothing_but_sftp_is_served(
    gateway: Gateway, board_key: BoardKey, ask: Callable[[paramiko.Channel], None]
) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        with pytest.raises(paramiko.SSHException):
            ask(opened.open_session(timeout=10))


@pytest.mark.parametrize("kind", ["direct-tcpip", "forwarded-tcpip"])
def test_no_connection_is_forwarded(gateway: Gateway, board_key: BoardKey, kind: str) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        with pytest.raises(paramiko.ChannelException):
            opened.open_channel(kind, ("127.0.0.1", gateway.status().port), ("127.0.0.1", 1), timeout=10)


def test_no_port_is_listened_on_for_a_board(gateway: Gateway, board_key: BoardKey) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        with pytest.raises(paramiko.SSHException, match="denied"):
            opened.request_port_forward("127.0.0.1", 0)


@pytest.mark.parametrize("user", ["pi-2", "root", "enroll", "../pi-1", ""])
def test_key_opens_its_own_boards_mailbox_only(gateway: Gateway, board_key: BoardKey, user: str) -> None:
    with pytest.raises((paramiko.AuthenticationException, paramiko.SSHException)):
        log_in(gateway, user, board_key)


def test_unknown_key_is_refused(gateway: Gateway, board_key: BoardKey, tmp_path: Path) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        log_in(gateway, "pi-1", make_key(tmp_path, "stranger"))


def test_without_a_key_nobody_comes_in(gateway: Gateway, board_key: BoardKey) -> None:
    with transport(gateway) as opened:
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            opened.auth_none("pi-1")
    assert set(refused.value.allowed_types) == {"publickey", "password"}


def test_removed_board_is_dropped_at_once_and_cannot_return(gateway: Gateway, board_key: BoardKey) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        sftp_of(opened).listdir("/")
        gateway.remove("pi-1")
        wait_for("the drop", lambda: not opened.is_active())
    with pytest.raises(paramiko.AuthenticationException):
        log_in(gateway, "pi-1", board_key)


def test_board_that_another_process_removed_is_dropped(gateway: Gateway, store: Store, board_key: BoardKey) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        store.fleet.remove("pi-1", now=time.time())
        wait_for("the drop", lambda: not opened.is_active())
        assert gateway.boards() == []


def test_third_connection_of_a_board_drops_its_oldest(gateway: Gateway, board_key: BoardKey) -> None:
    opened = [log_in(gateway, "pi-1", board_key) for _ in range(3)]
    wait_for("the drop", lambda: not opened[0].is_active())
    assert sftp_of(opened[2]).listdir("/inbox") == []
    for one in opened:
        one.close()


def test_upload_past_its_limit_fails_and_leaves_no_result(gateway: Gateway, board_key: BoardKey, mailbox: Path) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        with pytest.raises(OSError, match="at most 262144 bytes"):
            sftp_of(opened).open("/outbox/r1.json.part", "w").write(b"x" * (256 * 1024 + 1))
    assert (mailbox / "outbox" / "r1.json.part").stat().st_size <= 256 * 1024


def test_outbox_takes_no_more_files_than_its_limit(gateway: Gateway, board_key: BoardKey, mailbox: Path) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        client = sftp_of(opened)
        for number in range(64):
            client.open(f"/outbox/r{number}.json.part", "w").close()
        with pytest.raises(OSError, match="holds 64 files"):
            client.open("/outbox/one-more.json.part", "w")


def test_heartbeat_replaces_the_one_before(gateway: Gateway, board_key: BoardKey, mailbox: Path) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        client = sftp_of(opened)
        for text in (b"{}", b"[]"):
            with client.open("/heartbeat.json.part", "w") as file:
                file.write(text)
            client.posix_rename("/heartbeat.json.part", "/heartbeat.json")
    assert (mailbox / "heartbeat.json").read_bytes() == b"[]"


def enrol(gateway: Gateway, code: str, key: BoardKey, *, model: str = "pi") -> EnrolmentAnswer:
    request = EnrolmentRequest(public_key=key.line, agent_version="0.1.0", fingerprint={"model": model})
    with transport(gateway) as opened:
        opened.auth_password("enroll", code, fallback=False)
        client = sftp_of(opened)
        with client.open("/request.json.part", "w") as file:
            file.write(request.to_json())
        client.posix_rename("/request.json.part", "/request.json")
        with client.open("/answer.json") as answer:
            return EnrolmentAnswer.from_json(answer.read())


def test_one_time_code_makes_a_board_of_a_key(gateway: Gateway, tmp_path: Path) -> None:
    key = make_key(tmp_path, "new")
    answer = enrol(gateway, gateway.enrol("pi-7", "rpi5"), key)
    assert answer == EnrolmentAnswer(accepted=True, board="pi-7", board_class="rpi5")
    with log_in(gateway, "pi-7", key) as opened:
        assert sftp_of(opened).listdir("/outbox") == []


def test_used_code_answers_the_same_board_again_and_refuses_another(gateway: Gateway, tmp_path: Path) -> None:
    code, key = gateway.enrol("pi-7", "rpi5"), make_key(tmp_path, "new")
    assert enrol(gateway, code, key) == enrol(gateway, code, key)
    stranger = enrol(gateway, code, make_key(tmp_path, "stranger"))
    assert stranger.reason == "the code has been used; make a new one with `nas board add`"


def test_board_that_is_not_of_its_class_is_told_in_what(gateway: Gateway, tmp_path: Path) -> None:
    enrol(gateway, gateway.enrol("pi-7", "rpi5"), make_key(tmp_path, "7"))
    answer = enrol(gateway, gateway.enrol("pi-8", "rpi5"), make_key(tmp_path, "8"), model="jetson")
    assert not answer.accepted
    assert "model is 'jetson' but the class has 'pi'" in str(answer.reason)


@pytest.mark.parametrize("code", ["", "nas1-short", f"nas1-{'a' * 32}-{'0' * 64}"])
def test_wrong_code_does_not_come_in(gateway: Gateway, code: str) -> None:
    with transport(gateway) as opened, pytest.raises(paramiko.AuthenticationException):
        opened.auth_password("enroll", code, fallback=False)


def test_expired_code_does_not_come_in(gateway: Gateway) -> None:
    code = gateway.enrol("pi-7", "rpi5", ttl_s=0.0)
    with transport(gateway) as opened, pytest.raises(paramiko.AuthenticationException):
        opened.auth_password("enroll", code, fallback=False)


def test_right_code_is_refused_for_a_while_after_many_wrong_ones(gateway: Gateway) -> None:
    code = gateway.enrol("pi-7", "rpi5")
    for _ in range(10):
        with transport(gateway) as opened, pytest.raises(paramiko.AuthenticationException):
            opened.auth_password("enroll", f"nas1-{'a' * 32}-{'0' * 64}", fallback=False)
    with transport(gateway) as opened, pytest.raises(paramiko.AuthenticationException):
        opened.auth_password("enroll", code, fallback=False)


def test_fifth_attempt_on_one_connection_ends_it(gateway: Gateway) -> None:
    with transport(gateway) as opened:
        for _ in range(5):
            with pytest.raises((paramiko.SSHException, EOFError)):
                opened.auth_password("enroll", "wrong", fallback=False)
        wait_for("the end", lambda: not opened.is_active())


def test_enrolling_board_sees_no_mailbox(gateway: Gateway, board_key: BoardKey) -> None:
    with transport(gateway) as opened:
        opened.auth_password("enroll", gateway.enrol("pi-7", "rpi5"), fallback=False)
        client = sftp_of(opened)
        assert client.listdir("/") == []
        with pytest.raises(PermissionError):
            client.listdir("/inbox")


def test_enrolled_board_is_not_enrolled_again_before_it_is_removed(gateway: Gateway, board_key: BoardKey) -> None:
    with pytest.raises(ConflictError, match="nas board rm pi-1"):
        gateway.enrol("pi-1", "rpi5")


def test_log_names_users_and_refusals_but_no_secret(
    gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = gateway.enrol("pi-7", "rpi5")
    with caplog.at_level(logging.DEBUG, logger="cluster.gateway"):
        enrol(gateway, code, make_key(tmp_path, "new"))
        with transport(gateway) as opened, pytest.raises(paramiko.AuthenticationException):
            opened.auth_password("enroll", "hunter2", fallback=False)
    assert "ssh user=enroll" in caplog.text
    assert "the code is unknown or has expired" in caplog.text
    assert code.split("-")[1] not in caplog.text
    assert "hunter2" not in caplog.text


def test_many_boards_connect_at_once(gateway: Gateway, store: Store, tmp_path: Path) -> None:
    keys = {f"board-{n}": enrolled(store, tmp_path, f"board-{n}") for n in range(20)}
    begin = time.monotonic()
    opened = [log_in(gateway, name, key) for name, key in keys.items()]
    wait_for("all to be counted", lambda: sum(gateway.status().connections.values()) == 20)
    assert time.monotonic() - begin < 20
    for one in opened:
        one.close()


def test_a_board_that_writes_without_pause_is_slowed_down(gateway: Gateway, board_key: BoardKey, mailbox: Path) -> None:
    with log_in(gateway, "pi-1", board_key) as opened:
        client = sftp_of(opened)
        with pytest.raises(OSError, match="more than 20 files a second"):
            flood(client)


def flood(client: paramiko.SFTPClient) -> None:
    for _ in range(2000):
        client.open("/outbox/r1.json.part", "w").close()
