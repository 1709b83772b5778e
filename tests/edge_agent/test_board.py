"""Health, fingerprint and doctor, on generated board trees."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.doctor import (
    Check,
    check_clock,
    check_gateway,
    check_home,
    check_inference,
    check_isolation,
    check_provider,
    check_python,
    check_runtimes,
)
from edge_agent.doctor_clocks import check_pace
from edge_agent.errors import EdgeError, HostKeyError, LinkError, RefusedError
from edge_agent.fingerprint import boot_id, read_fingerprint
from edge_agent.health import oom_kill_count, read_health
from edge_agent.home import BoardConfig, Home
from edge_agent.measuring import Measurement
from edge_agent.records import AgentSettings, RecordError, RuntimeSettings
from edge_agent.throttling import throttle_cause
from edge_agent.verdict import Verdict
from tests.edge_agent.boards import jetson, raspberry_pi, recorded, tree


def test_a_pis_health_is_read_from_its_files(tmp_path: Path) -> None:
    health = read_health(raspberry_pi(tmp_path, throttled="50005"))
    assert health["temperatures_c"] == {"cpu-thermal": 48.686}
    assert health["throttled_now"] == ["under_voltage", "throttled"]
    assert health["throttled_since_boot"] == ["under_voltage", "throttled"]
    assert health["governors"] == ["ondemand"]
    assert health["clock_mhz"] == [1500] * 4
    assert health["load_1min"] == 0.42
    assert health["memory_available_kib"] == 3_200_000
    assert health["swap_used_kib"] == 396


def test_a_jetsons_counters_and_fans_are_read_and_its_pmic_is_not_a_temperature(tmp_path: Path) -> None:
    health = read_health(jetson(tmp_path, events=4))
    assert health["temperatures_c"] == {"cpu-thermal": 51.0}
    assert health["over_current_events"] == {"oc1": 4}
    assert health["cooling_states"] == {"cooling_device0:pwm-fan": 1}


def test_what_a_platform_does_not_tell_is_unknown_and_not_zero(tmp_path: Path) -> None:
    health = read_health(tmp_path)
    unknown = ("throttled_now", "throttled_since_boot", "load_1min", "memory_available_kib", "swap_used_kib")
    assert {name: health[name] for name in unknown} == dict.fromkeys(unknown)
    assert oom_kill_count(tmp_path) is None


@pytest.mark.parametrize("text", ["not a number\n", ""])
def test_files_with_nonsense_are_unknown(tmp_path: Path, text: str) -> None:
    root = tree(raspberry_pi(tmp_path), {"sys/class/thermal/thermal_zone0/temp": text})
    tree(root, {"sys/devices/platform/soc/soc:firmware/get_throttled": text})
    assert read_health(root)["temperatures_c"] == {}
    assert read_health(root)["throttled_now"] is None


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ("0", "0", None),
        ("50000", "50000", None),
        ("0", "4", "the firmware reports throttled"),
        ("1", "0", "the firmware reports under_voltage"),
        ("0", "40000", "the firmware noted throttled during the measurement"),
    ],
)
def test_throttling_of_a_pi_now_or_meanwhile_is_noticed(
    tmp_path: Path, before: str, after: str, cause: str | None
) -> None:
    first, second = (read_health(raspberry_pi(tmp_path, throttled=bits)) for bits in (before, after))
    assert throttle_cause(first, second) == cause


def test_throttling_of_a_jetson_is_noticed_by_its_counters(tmp_path: Path) -> None:
    before, after = (read_health(jetson(tmp_path, events=n)) for n in (3, 5))
    assert throttle_cause(before, after) == "oc1 (under-voltage) counted 2 events"
    assert throttle_cause(after, after) is None


def test_a_fingerprint_tells_boards_apart_and_is_the_same_every_time(tmp_path: Path) -> None:
    pi, orin = read_fingerprint(raspberry_pi(tmp_path / "pi")), read_fingerprint(jetson(tmp_path / "orin"))
    assert pi["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert pi["cpu"] == "ARM implementer 0x41 part 0xd08"
    assert (pi["ram_gib"], pi["max_mhz"], pi["governor"]) == (4, 1800, "ondemand")
    assert pi["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert orin["l4t"] == "# R36 (release), REVISION: 3.0"
    assert "onnxruntime" in pi["runtimes"]
    assert (pi["power_mode"], read_fingerprint(recorded(tmp_path / "nano", "jetson-nano-jp4"))["power_mode"]) == (
        None,
        "0000",
    )
    assert read_fingerprint(tmp_path / "pi") == pi != orin
    assert boot_id(tmp_path / "pi") == "bdb477593b87"


@pytest.mark.parametrize(
    ("check", "state", "found", "fix"),
    [
        (check_runtimes({}), "fail", "no onnxruntime", "pip install onnxruntime"),
        (
            check_runtimes({"onnxruntime": "1.23.0", "onnxruntime-gpu": "1.23.0"}),
            "fail",
            "shadow each other",
            f"pip uninstall -y onnxruntime onnxruntime-gpu; {sys.executable} -m pip install onnxruntime-gpu",
        ),
        (
            check_runtimes({"onnxruntime": "1.23.0", "onnxruntime-gpu": "1.23.0"}, l4t=36),
            "fail",
            "shadow each other",
            "install onnxruntime-gpu --index-url https://pypi.jetson-ai-lab.io/jp6/cu126",
        ),
        (
            check_runtimes({"onnxruntime": "1.16.0", "onnxruntime-gpu": "1.16.0"}, l4t=35),
            "fail",
            "shadow each other",
            "install --no-deps YOUR_WHEEL.whl",
        ),
        (check_runtimes({"onnxruntime": "1.23.0"}), "ok", "onnxruntime 1.23.0", None),
        (check_python(machine="armv7l"), "fail", "on armv7l", "install a 64-bit system image"),
        (check_python(machine="aarch64"), "ok", "on aarch64", None),
        (check_clock(ahead_s=-90), "warn", "differs by -90 s", "sudo timedatectl set-ntp true"),
        (check_clock(ahead_s=2), "ok", "within 30 s", None),
        (check_isolation("namespace"), "ok", "has no network (by namespace)", None),
        (
            check_isolation("none (namespace: No)"),
            "warn",
            "could use the network: none (namespace: No)",
            "userns_clone=1",
        ),
    ],
)
def test_doctor_says_what_is_wrong_and_how_to_mend_it(check: Check, state: str, found: str, fix: str | None) -> None:
    assert (check.state, found in check.found) == (state, True)
    assert check.fix is None if fix is None else fix in (check.fix or "")
    assert ("fix: " in check.as_text()) == (fix is not None)


def test_doctor_knows_the_governor(tmp_path: Path) -> None:
    (check,) = check_pace(raspberry_pi(tmp_path / "pi"))
    assert check.state == "warn"
    assert check.fix == "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def test_doctor_takes_equal_limits_for_held_clocks(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path)
    for core in range(4):
        frequency = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        tree(root, {f"{frequency}/scaling_min_freq": "1500000\n", f"{frequency}/scaling_max_freq": "1500000\n"})
    assert [check.state for check in check_pace(root)] == ["ok"]


def test_doctor_tells_a_jetsons_power_mode_and_that_its_clocks_move(tmp_path: Path) -> None:
    root = recorded(tmp_path, "jetson-orin-nano-jp6")
    jetpack, mode = check_pace(root)
    assert (jetpack.state, jetpack.found) == ("ok", "JetPack 6 (L4T R36)")
    assert (mode.state, mode.found) == ("ok", "mode 0001, cores 0-5, clocks held")
    tree(
        root,
        {f"sys/class/devfreq/17000000.gpu/{n}_freq": f"{v}\n" for n, v in (("min", 306000000), ("max", 624750000))},
    )
    _, mode = check_pace(root)
    assert (mode.state, "latencies will vary" in mode.found) == ("warn", True)
    assert (mode.fix or "").startswith("sudo nvpmodel -m 0 && sudo jetson_clocks")


def test_doctor_tells_a_jetson_whose_power_mode_is_hidden(tmp_path: Path) -> None:
    _, mode = check_pace(jetson(tmp_path))
    assert (mode.state, "the power mode is unknown" in mode.found) == ("warn", True)
    assert "-v /var/lib/nvpmodel:/var/lib/nvpmodel:ro" in (mode.fix or "")


def test_doctor_tells_jetpack_4_what_its_image_can_do_and_lacks(tmp_path: Path) -> None:
    whole = next(check_pace(recorded(tmp_path / "host", "jetson-nano-jp4")))
    assert whole.state == "ok"
    assert "in its image, on the CPU only" in whole.found
    bare = tree(tmp_path / "image", {"etc/nv_tegra_release": "# R32 (release), REVISION: 7.1\n"})
    lacking = next(check_pace(bare))
    assert (lacking.state, "the power sensor is not mounted" in lacking.found) == ("warn", True)
    assert "-v /sys/devices:/sys/devices:ro --group-add" in (lacking.fix or "")


def test_an_old_python_is_told_to_use_the_image(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "edge_agent" / "__main__.py").read_text()
    assert "from __future__" not in text  # Python 3.6 does not know annotations, and would say only that
    script = tmp_path / "main.py"
    script.write_text(f"import sys\nsys.version_info = (3, 6, 9)\n{text}")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.10 or later, and this is 3.6" in done.stderr
    assert "docker build -f docker/Dockerfile.edge" in done.stderr


def test_doctor_runs_a_real_inference() -> None:
    check, isolation = check_inference()
    assert check.state == "ok"
    assert "µs on CPUExecutionProvider" in check.found
    assert isolation.name == "isolation"


def test_doctor_tries_the_provider_of_the_boards_class() -> None:
    check = check_provider(RuntimeSettings(provider="CUDAExecutionProvider"))
    assert (check.name, check.state) == ("provider", "fail")
    assert "'CUDAExecutionProvider' is not in this onnxruntime" in check.found
    assert "uninstall -y onnxruntime onnxruntime-gpu; " in (check.fix or "")


def test_doctor_reports_an_onnxruntime_that_dies() -> None:
    verdict = Verdict(status="agent_error", fault="board", cause="onnxruntime died of SIGILL on import")
    (check,) = check_inference(lambda *_, **__: Measurement(verdict=verdict))
    assert check.state == "fail"
    assert "SIGILL" in check.found
    assert "pip install --force-reinstall" in (check.fix or "")


def test_doctor_finds_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = check_home(Home.at(tmp_path / "file" / "home"))
    assert check.state == "fail"
    assert str(tmp_path / "file" / "home") in (check.fix or "")
    with pytest.raises(
        EdgeError, match=r"cannot write .*/home: Not a directory; give a writable folder with --home or \$NAS_EDGE_HOME"
    ):
        Home.at(tmp_path / "file" / "home").create()


def test_doctor_tells_a_board_that_is_not_enrolled(home: Home) -> None:
    (check,) = check_gateway(home)
    assert (check.name, check.state, check.fix) == ("enrolled", "fail", "nas-edge enroll HOST[:PORT] CODE")


def test_doctor_tells_whether_the_gateway_answers_and_agrees_on_the_time(home: Home) -> None:
    for path in (home.key_path, home.host_key_path):
        path.write_text("x")
    home.save_config(BoardConfig(host="head", port=22, board="pi", board_class="x86"))

    class Box:
        def read_settings(self) -> AgentSettings:
            settings = RuntimeSettings(provider="CUDAExecutionProvider")
            return AgentSettings(board="pi", board_class="x86", host_unix_s=time.time() - 500, settings=settings)

        def close(self) -> None: ...

    states = [(check.name, check.state) for check in check_gateway(home, connect=lambda *_: Box())]
    assert states == [("enrolled", "ok"), ("gateway", "ok"), ("clock", "warn"), ("provider", "fail")]


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (LinkError("head:22: timed out; is the gateway up and reachable?"), "nc -vz head 22"),
        (
            HostKeyError("head:22 shows host key B but this board expects A"),
            "nas board rm pi; nas board add pi --class x86",
        ),
        (RefusedError("head:22 does not accept this board"), "nas board add pi --class x86"),
        (RecordError("/agent.json has version 2"), f"{sys.executable} -m pip install --upgrade biglittle-nas"),
    ],
    ids=["unreachable", "another host key", "revoked", "another version"],
)
def test_every_way_in_which_the_gateway_fails_has_a_fix_of_its_own(home: Home, error: Exception, fix: str) -> None:
    for path in (home.key_path, home.host_key_path):
        path.write_text("x")
    home.save_config(BoardConfig(host="head", port=22, board="pi", board_class="x86"))

    def broken(*_: object) -> object:
        raise error

    check = list(check_gateway(home, connect=broken))[-1]
    assert (check.name, check.state, check.found) == ("gateway", "fail", str(error))
    assert (check.fix or "").startswith(fix)
    enrols = isinstance(error, (HostKeyError, RefusedError))
    assert ("nas-edge enroll head:22 CODE" in (check.fix or "")) == enrols
