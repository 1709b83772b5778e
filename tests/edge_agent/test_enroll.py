"""Enrolment against a real SSH server."""

from __future__ import annotations

import asyncssh
import pytest

from edge_agent import enroll as enrolment
from edge_agent.enroll import enroll, parse_address
from edge_agent.errors import BadUsageError, HostKeyError, LinkError, NotEnrolledError, RefusedError
from edge_agent.home import Home
from edge_agent.identity import key_sha256
from edge_agent.mailbox import open_mailbox
from edge_agent.records import EnrolmentAnswer, EnrolmentCode, EnrolmentRequest, RecordError
from tests.edge_agent.sftp_gateway import SftpGateway


def enrol(home: Home, gateway: SftpGateway, code: str) -> str:
    return enroll(home, address=f"127.0.0.1:{gateway.port}", code=code, fingerprint={"arch": "x"}).board


@pytest.mark.ssh
def test_a_code_makes_a_home_a_board_that_can_open_its_mailbox(home: Home, gateway: SftpGateway) -> None:
    assert enrol(home, gateway, gateway.new_code().format()) == "pi"
    assert home.host_key() == " ".join(gateway.host_key_line.split()[:2])
    assert open_mailbox(home, home.config()).read_settings().board == "pi"
    request = EnrolmentRequest.from_json((gateway.root / "enroll" / "request.json").read_bytes())
    assert request.fingerprint == {"arch": "x"}


@pytest.mark.ssh
def test_the_code_is_not_sent_to_a_server_that_it_is_not_for(home: Home, gateway: SftpGateway) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    code = EnrolmentCode(token="a" * 16, host_key_sha256=key_sha256(other.public_data))
    with pytest.raises(HostKeyError, match="it may be another machine or an attack"):
        enrol(home, gateway, code.format())
    assert gateway.logins == 0
    with pytest.raises(NotEnrolledError, match=r"is not enrolled .*run `nas-edge enroll"):
        home.config()


@pytest.mark.ssh
def test_a_code_that_the_gateway_does_not_know_is_refused_with_what_to_do(home: Home, gateway: SftpGateway) -> None:
    code = gateway.new_code().format()
    gateway.codes.clear()
    message = r"does not accept this code: it was never issued, has expired or .*get a new code with `nas board add`"
    with pytest.raises(RefusedError, match=message):
        enrol(home, gateway, code)


@pytest.mark.ssh
def test_a_gateway_that_says_no_gives_its_reason(home: Home, gateway: SftpGateway) -> None:
    code = gateway.new_code().format()
    folder = gateway.root / "enroll"
    folder.mkdir(parents=True)
    (folder / "answer.json").write_text(EnrolmentAnswer(accepted=False, reason="class x86 is frozen").to_json())
    gateway.add_board = lambda name, key: None  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EnrolmentAnswer, "to_json", lambda self: (folder / "answer.json").read_text())
        with pytest.raises(RefusedError, match="the gateway refused this board: class x86 is frozen"):
            enrol(home, gateway, code)


@pytest.mark.ssh
def test_a_gateway_that_never_answers_is_not_waited_for_long(
    home: Home, gateway: SftpGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(enrolment, "write_remote", lambda sftp, path, text: None)
    with pytest.raises(LinkError, match="gave no answer in 0 s; look at its log"):
        enrol(home, gateway, gateway.new_code().format())


def test_a_code_is_read_back_as_it_was_written() -> None:
    code = EnrolmentCode(token="abcdefgh234567ab", host_key_sha256="0f" * 32)
    assert EnrolmentCode.parse(f" {code.format()}\n") == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "must read nas1-TOKEN-FINGERPRINT"),
        ("nas2-" + "a" * 16 + "-" + "0" * 64, "must read nas1-TOKEN-FINGERPRINT"),
        ("nas1-ABC-" + "0" * 64, "token must be 16 to 64 of a-z and 2-7"),
        ("nas1-" + "a" * 16 + "-" + "0" * 63, "must be 64 lower-case hexadecimal digits"),
    ],
)
def test_a_damaged_code_says_how_one_looks(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        EnrolmentCode.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("head", "head", 8022),
        ("10.0.0.1:22", "10.0.0.1", 22),
        ("[::1]", "::1", 8022),
        ("[fe80::1]:2222", "fe80::1", 2222),
    ],
)
def test_addresses_have_a_host_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize("text", ["", ":22", "head:", "head:x", "head:0", "head:65536", "::1", "a b:c:d"])
def test_other_addresses_are_bad_usage(text: str) -> None:
    with pytest.raises(BadUsageError, match="must be HOST or HOST:PORT, PORT 1 to 65535"):
        parse_address(text)
