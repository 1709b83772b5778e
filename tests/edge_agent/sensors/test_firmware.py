"""Questions to a Raspberry Pi's firmware: the mailbox message, and the program where the mailbox does not answer."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from edge_agent.sensors import Place
from edge_agent.sensors.firmware import Command, Ioctl, Mailbox, encode, open_firmware
from edge_agent.sensors.pi_pmic import PiPmicSensor, find_pi_pmic, total_uw
from edge_agent.sensors.sensor import Passed, SensorError
from tests.edge_agent.boards import firmware_program, pmic_text, recorded


def firmware(answers: dict[str, str], *, status: int = 0, response: int = 0x80000000) -> Ioctl:
    """A kernel and firmware that answer property messages as the real ones do."""

    def ioctl(fd: int, request: int, message: bytearray) -> int:
        size, _, tag, room, _, _ = struct.unpack_from("<6I", message)
        assert (request, tag, size, room) == (0xC0086400, 0x00030080, len(message), 4096)
        command = bytes(message[24:]).split(b"\0", 1)[0].decode()
        text = answers[command].encode()
        struct.pack_into("<6I", message, 0, size, response, tag, room, 0x80000000 | len(text), status)
        message[24 : 24 + len(text) + 1] = text + b"\0"
        return 0

    return ioctl


def refusing(number: int) -> Ioctl:
    def ioctl(*_: object) -> int:
        raise OSError(number, "refused")

    return ioctl


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return recorded(tmp_path, "raspberry-pi-5")


ANSWERS = {"get_throttled": "throttled=0x0", "pmic_read_adc": pmic_text()}


def test_the_mailbox_answers_in_place(pi: Path) -> None:
    box = Mailbox(pi / "dev/vcio", ioctl=firmware({"measure_clock arm": "frequency(48)=2400033792"}))
    assert box.ask("measure_clock arm") == "frequency(48)=2400033792"
    box.close()


def test_a_pi_5s_power_is_the_sum_of_its_rails_by_mailbox_without_a_process(pi: Path) -> None:
    sensor = find_pi_pmic(Place(root=pi, vcgencmd=("/nowhere",)), ioctl=firmware(ANSWERS))
    assert isinstance(sensor, PiPmicSensor)
    assert sensor.rail.endswith("by mailbox")
    assert sensor.power_mw(sensor.read()) == pytest.approx(2442.043)
    assert sensor.interval_s < 0.02


def test_the_program_is_asked_less_often_where_the_mailbox_refuses(pi: Path) -> None:
    place = Place(root=pi, vcgencmd=firmware_program(pi / "bin", ANSWERS))
    sensor = find_pi_pmic(place, ioctl=refusing(errno.ENOTTY))
    assert isinstance(sensor, PiPmicSensor)
    assert sensor.rail.endswith("by vcgencmd")
    assert sensor.interval_s == 0.1


def test_a_mailbox_that_is_forbidden_has_a_fix_that_is_not_root(pi: Path) -> None:
    found = find_pi_pmic(Place(root=pi, vcgencmd=("/nowhere/vcgencmd",)), ioctl=refusing(errno.EACCES))
    assert isinstance(found, Passed)
    assert "dev/vcio_gencmd: refused" in found.why
    assert "vcgencmd is not installed" in found.why
    assert "usermod -aG video $USER" in (found.fix or "")
    assert "99-nas-edge.rules" in (found.fix or "")


def test_a_pi_4_says_that_it_has_no_sensor_and_what_to_do(tmp_path: Path) -> None:
    found = find_pi_pmic(Place(root=recorded(tmp_path, "raspberry-pi-4-ina226")))
    assert isinstance(found, Passed)
    assert found.why.startswith("Raspberry Pi 4 Model B Rev 1.4 has no power sensor on board")
    assert "INA226" in (found.fix or "")
    assert not found.present


@pytest.mark.parametrize(("status", "response"), [(1, 0x80000000), (0, 0x80000001), (0, 0)])
def test_an_answer_that_says_no_is_a_fault(pi: Path, status: int, response: int) -> None:
    box = Mailbox(pi / "dev/vcio", ioctl=firmware(ANSWERS, status=status, response=response))
    with pytest.raises(SensorError, match="the firmware answered 'get_throttled' with") as error:
        box.ask("get_throttled")
    assert error.value.kind == "failing"
    box.close()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENODEV, "vanished"), (errno.EPERM, "forbidden"), (errno.EIO, "failing")]
)
def test_a_mailbox_that_goes_says_how(pi: Path, number: int, kind: str) -> None:
    with pytest.raises(SensorError, match="dev/vcio: refused") as error:
        Mailbox(pi / "dev/vcio", ioctl=refusing(number)).ask("get_throttled")
    assert error.value.kind == kind


def test_a_program_that_fails_is_quoted(pi: Path) -> None:
    program = firmware_program(pi / "bin", {})
    with pytest.raises(SensorError, match='pmic_read_adc ended with 255: error=1 error_msg="Command not registered"'):
        Command(program).ask("pmic_read_adc")
    with pytest.raises(SensorError, match="/nowhere is not installed"):
        open_firmware(pi / "empty", vcgencmd=("/nowhere",))


def test_a_command_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a firmware command has 5000 bytes but must be shorter than 4095"):
        encode("x" * 5000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks 3V7_WL_SW_A, 3V7_WL_SW_V, 3V3_SYS_A; it said: nothing"),
        (pmic_text().replace("VDD_CORE_A", "VDD_CORE_X"), "lacks VDD_CORE_A; it said: 3V7_WL_SW_A"),
        (pmic_text().replace("volt(15)=0.88310000V", "volt(15)=n/a"), "lacks VDD_CORE_V"),
    ],
)
def test_rails_that_are_missing_are_never_left_out_of_the_sum(text: str, said: str) -> None:
    with pytest.raises(SensorError, match=said) as error:
        total_uw(text)
    assert error.value.kind == "not_a_number"
