from __future__ import annotations

import json
import logging
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_agent.cli import main
from edge_agent.errors import EdgeError
from edge_agent.images import parse_netpbm, read_image
from tests.edge_agent.bundles import make_bundle
from tests.edge_agent.sftp_gateway import SftpGateway


@pytest.fixture(autouse=True)
def quiet_logging() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def write_image(folder: Path, image: np.ndarray, suffix: str) -> Path:
    path = folder / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    elif suffix == ".ppm":
        path.write_bytes(b"P6\n# made by hand\n8 8\n255\n" + image.tobytes())
    else:
        Image.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".ppm", ".png"])
def test_predict_reads_every_format_alike(
    tmp_path: Path, image: np.ndarray, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    path = write_image(tmp_path, image, suffix)
    assert main(["predict", str(tmp_path / "bundle"), str(path), "--json", "--operating-point", "always"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["image"], row["route"]) == (str(path), "big")
    assert np.array_equal(read_image(path), image)
    assert sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-5)


def test_measure_gives_both_halves_of_a_bundle_and_json_without_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    assert main(["measure", str(tmp_path / "bundle"), "--tier", "probe", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["status"], row["energy"]) for row in rows] == [
        ("little.onnx", "ok", None),
        ("big.onnx", "ok", None),
    ]


def test_measure_logs_what_it_begins_and_how_long_that_takes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_bundle(tmp_path / "bundle")
    with caplog.at_level(logging.INFO, logger="edge_agent"):
        assert main(["measure", str(tmp_path / "bundle" / "little.onnx"), "--tier", "probe", "--json"]) == 0
    assert [record.getMessage() for record in caplog.records if record.name == "edge_agent"] == [
        "little.onnx: loading",
        "little.onnx: timing for 1 to 20 s, after a warm-up of at most 5 s",
    ]


def test_a_precision_that_the_bundle_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "bundle")
    for command in (["measure"], ["predict", "--operating-point", "half"]):
        images = ["x.npy"] if command[0] == "predict" else []
        assert main([command[0], str(tmp_path / "bundle"), *images, *command[1:], "--precision", "int8"]) == 1
        assert "bundle has no int8 variant; it has: fp32" in capsys.readouterr().err


def test_a_single_file_has_no_precision_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "bundle")
    assert main(["measure", str(tmp_path / "bundle" / "little.onnx"), "--precision", "int8"]) == 2
    assert "leave --precision out" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["0", "-1", "257"])
def test_measure_tells_how_many_threads_there_may_be(
    tmp_path: Path, threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    assert main(["measure", str(tmp_path / "bundle" / "little.onnx"), "--threads", threads]) == 2
    assert capsys.readouterr().err == f"nas-edge: threads is {threads} but must be 1 to 256\n"


def test_measure_of_a_bad_file_fails_with_a_table_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"x")
    assert main(["measure", str(tmp_path / "bad.onnx")]) == 1
    assert "bad.onnx: the model file is truncated or damaged" in capsys.readouterr().out


@pytest.mark.ssh
def test_enroll_says_who_the_board_is(tmp_path: Path, gateway: SftpGateway, capsys: pytest.CaptureFixture[str]) -> None:
    code = gateway.new_code().format()
    arguments = ["enroll", f"127.0.0.1:{gateway.port}", code, "--home", str(tmp_path / "new")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"enrolled as pi (class x86) at 127.0.0.1:{gateway.port}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["enroll", "head:x", "nas1-a-b"], 2, "gateway address is 'head:x' but must be HOST or HOST:PORT"),
        (["enroll", "head", "nas1-a-b"], 2, "token must be 16 to 64"),
        (["run"], 1, "is not enrolled (no config.json); run `nas-edge enroll"),
        (["predict", "missing", "image.npy"], 1, "missing is no bundle; give a folder with bundle.json or a zip"),
        (["measure", "missing"], 2, "missing does not exist; give a bundle or an .onnx file"),
    ],
)
def test_errors_are_one_line_with_the_right_status(
    tmp_path: Path, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--home", str(tmp_path)]) == status
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert error.startswith("nas-edge: ")
    assert error.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(EdgeError):
        main(["run", "--home", str(tmp_path), "--debug"])


def test_unknown_commands_are_bad_usage() -> None:
    command = [sys.executable, "-m", "edge_agent", "fly"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")


def test_doctor_exits_1_and_prints_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--home", str(tmp_path / "home")]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["inference"]["state"] == "ok"
    assert checks["enrolled"]["fix"] == "nas-edge enroll HOST[:PORT] CODE"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"P3\n1 1\n255\n1 2 3", "no binary PPM or PGM"), (b"P6\n2 2\n255\nabc", "has 3 bytes of pixels but needs 12")],
)
def test_other_netpbm_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_netpbm(data)


def test_a_grey_image_has_one_channel() -> None:
    assert parse_netpbm(b"P5 2 1 255 \x01\x02").tolist() == [[[1], [2]]]


def test_a_jpeg_without_pillow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(EdgeError, match=r"needs Pillow: `pip install 'biglittle-nas\[image\]'`, or give"):
        read_image(tmp_path / "image.jpg")


def npz_named_npy(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=np.zeros(3))
    path.with_suffix(".npz").rename(path)


def huge_npy(path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 3), }".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())


def bomb_png(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(99))))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.npy", lambda path: None, "cannot read image {}: No such file or directory"),
        ("a.png", lambda path: path.mkdir(), "cannot read image {}: Is a directory"),
        ("a.npy", lambda path: np.save(path, np.zeros((8, 9, 3), np.uint8)), "{}: image is uint8 (8, 9, 3) but"),
        ("a.npy", lambda path: np.save(path, np.zeros((8, 8), np.uint8)), "{}: image is uint8 (8, 8, 1) but"),
        ("a.npy", lambda path: np.save(path, np.zeros((8, 8, 3))), "image {} is float64 (8, 8, 3) but must"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{"), "cannot read image {}: EOF"),
        ("a.npy", npz_named_npy, "cannot read image {}: it is a zip of arrays (.npz); save one array"),
        ("a.npy", lambda path: path.write_bytes(b"hello"), "cannot read image {}: it is no array; save one with"),
        ("a.npy", lambda path: np.save(path, np.array([{}])), "cannot read image {}: "),
        ("a.npy", huge_npy, "cannot read image {}: "),
        ("a.png", bomb_png, "could be decompression bomb DOS attack.; resize it"),
        ("a.png", lambda path: path.write_bytes(b"hello"), "cannot read image {}: cannot identify image file"),
        ("a.jpg", lambda path: path.write_bytes(b""), "cannot read image {}: cannot identify image file"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_predicted_is_named_with_the_reason(tmp_path, capsys, name, make, message):
    make_bundle(tmp_path / "bundle")
    path = tmp_path / name
    make(path)
    assert main(["predict", str(tmp_path / "bundle"), str(path)]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert message.format(path) in error


def test_pictures_with_more_than_8_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(
        EdgeError, match=r"its pixels have more than 8 bits \(mode I;16\); convert it to 8 bits a channel"
    ):
        read_image(tmp_path / "deep.png")


def test_whatever_is_flipped_in_a_zip_the_error_is_one_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_bundle(tmp_path / "bundle")
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "bundle").iterdir():
            archive.writestr(path.name, path.read_bytes())
    data, rng = (tmp_path / "bundle.zip").read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.zip").write_bytes(damaged)
        assert main(["predict", str(tmp_path / "damaged.zip"), "missing.npy"]) == 1
        assert capsys.readouterr().err.startswith("nas-edge: ")
