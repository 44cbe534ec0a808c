"""cifar10 classify: every kind of picture is read as it looks, or refused by name while the others continue."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cifar10.classify.command import classify
from cifar10.classify.pictures import HOW, read_picture
from cifar10.core.data import Statistics
from cifar10.core.errors import UserError
from cifar10.export.graph import onnx_bytes
from cifar10.export.session import BATCH_SIZE, load_exported, probabilities
from cifar10.network.model import Net

ROOT = Path(__file__).parent.parent
SMOOTH = np.mgrid[:64, :64].astype(np.uint8) * 3  # rises downwards, and to the right
COLOURS = np.dstack([SMOOTH[0], SMOOTH[1], 255 - SMOOTH[0]])
GREY = SMOOTH[0] // 2 + SMOOTH[1] // 2
CLASSES = [f"class {i}" for i in range(10)]


def halved(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean of each 2x2 pixels: what 64x64 become at half the size."""
    mean: NDArray[np.float64] = picture.reshape(32, 2, 32, 2, -1).mean((1, 3))
    return mean


def png(width: int, height: int, text: bytes = b"") -> bytes:
    """A PNG of colours and with a compressed text, written by hand, without its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    comment = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text))
    return b"\x89PNG\r\n\x1a\n" + header + comment + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_of_the_networks_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_picture(str(tmp_path / "x.png")), pixels)


@pytest.mark.parametrize("upright", [True, False])
def test_the_centre_square_is_taken(tmp_path: Path, upright: bool) -> None:
    pixels = np.full((100, 40, 3), (255, 0, 0), np.uint8)
    pixels[30:70] = (0, 0, 255)
    Image.fromarray(pixels if upright else pixels.transpose(1, 0, 2)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_picture(str(tmp_path / "x.png")), np.full((32, 32, 3), (0, 0, 255)))


def test_it_is_antialiased(tmp_path: Path) -> None:
    """Points of a picture of thin black and white lines would be black or white; their mean is grey."""
    lines = np.tile(np.array([0, 255], np.uint8), (301, 150))
    Image.fromarray(lines).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_picture(str(tmp_path / "x.png"))[1:-1, 1:-1], 127.5, atol=8)


def saved(name: str, picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=name, **options)
    return file.getvalue()


COLOUR, OPAQUE = Image.fromarray(COLOURS), Image.fromarray(np.dstack([COLOURS, np.full((64, 64), 255, np.uint8)]))
KINDS: dict[str, tuple[bytes, NDArray[np.uint8], int]] = {  # file, what it shows, greatest difference
    "PNG": (saved("png", COLOUR), COLOURS, 2),
    "BMP": (saved("bmp", COLOUR), COLOURS, 2),
    "PPM": (saved("ppm", COLOUR), COLOURS, 2),
    "TIFF": (saved("tiff", COLOUR, compression="tiff_lzw"), COLOURS, 2),
    "WebP": (saved("webp", COLOUR, lossless=True), COLOURS, 2),
    "JPEG": (saved("jpeg", COLOUR, quality=95), COLOURS, 6),
    "grey": (saved("png", Image.fromarray(GREY)), np.dstack([GREY] * 3), 2),
    "grey JPEG": (saved("jpeg", Image.fromarray(GREY), quality=95), np.dstack([GREY] * 3), 4),
    "palette": (saved("gif", Image.fromarray(GREY)), np.dstack([GREY] * 3), 2),
    "RGBA": (saved("png", OPAQUE), COLOURS, 2),
    "CMYK": (saved("tiff", COLOUR.convert("CMYK")), COLOURS, 2),
    "CMYK JPEG": (saved("jpeg", COLOUR.convert("CMYK"), quality=95), COLOURS, 6),
    "16-bit grey": (cv2.imencode(".png", GREY.astype(np.uint16) * 257)[1].tobytes(), np.dstack([GREY] * 3), 2),
    "16-bit grey TIFF": (cv2.imencode(".tif", GREY.astype(np.uint16) * 257)[1].tobytes(), np.dstack([GREY] * 3), 2),
    "16-bit in 32": (saved("tiff", Image.fromarray(GREY.astype(np.int32) * 257)), np.dstack([GREY] * 3), 2),
    "16-bit colours": (
        cv2.imencode(".png", COLOURS[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
        COLOURS,
        2,
    ),
    "animated GIF": (
        saved("gif", Image.fromarray(GREY), save_all=True, append_images=[Image.new("L", (64, 64))]),
        np.dstack([GREY] * 3),
        2,
    ),
    "animated PNG": (saved("png", COLOUR, save_all=True, append_images=[Image.new("RGB", (64, 64))]), COLOURS, 2),
    "1x1": (saved("png", Image.new("RGB", (1, 1), (9, 8, 7))), np.full((64, 64, 3), (9, 8, 7), np.uint8), 0),
    "a line": (saved("png", Image.new("RGB", (900, 1), (9, 8, 7))), np.full((64, 64, 3), (9, 8, 7), np.uint8), 0),
    "1-bit": (saved("png", Image.new("1", (64, 64), 1)), np.full((64, 64, 3), 255, np.uint8), 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_as_it_looks(tmp_path: Path, kind: str) -> None:
    data, shown, difference = KINDS[kind]
    (tmp_path / "x").write_bytes(data)  # what a file is does not depend on its name
    found = read_picture(str(tmp_path / "x"))
    assert found.shape == (32, 32, 3)
    assert found.dtype == np.uint8
    edge = np.abs(found - halved(shown))[1:-1, 1:-1]  # a resampling filter meets fewer pixels at the border
    assert edge.max() <= difference


@pytest.mark.parametrize("size", [(128, 128), (520, 512), (2000, 1600)])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path, size: tuple[int, int]) -> None:
    """Its details, which are a pixel of the result each, included."""
    detailed = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8))
    detailed.resize(size, Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    Image.open(tmp_path / "x.png").save(tmp_path / "x.jpg", quality=95)
    small, exact = (read_picture(str(tmp_path / name)).astype(int) for name in ("x.jpg", "x.png"))
    assert np.abs(small - exact).max() <= 12


def test_transparency_is_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16] = (255, 0, 0, 128)  # half of it
    pixels[16:] = (0, 0, 0, 0)  # black, but unseen
    Image.fromarray(pixels).save(tmp_path / "x.png")
    found = read_picture(str(tmp_path / "x.png")).astype(int)
    assert np.abs(found[:16] - (255, 127, 127)).max() <= 1
    assert (found[16:] == 255).all()
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "x.gif", transparency=1)
    assert (read_picture(str(tmp_path / "x.gif")) == 255).all()


# How the file stores what is seen, for each value of EXIF's orientation.
ORIENTATIONS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: np.rot90(seen),
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: np.rot90(seen, -1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photograph_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    seen = COLOURS[:32, :32]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](seen))).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(str(tmp_path / "x.png")), seen)


REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "text": (b"hello\n", "is not a picture; these formats can be read: PNG, JPEG, "),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing, not pixels"),
    "truncated PNG": (saved("png", COLOUR)[:-100], "cannot be read: it is damaged: image file is truncated"),
    "truncated JPEG": (saved("jpeg", COLOUR)[:-200], "cannot be read: it is damaged: image file is truncated"),
    "huge": (png(60_000, 60_000), "has too many pixels: 3,600,000,000, at most 64,000,000"),
    "large": (png(10_000, 9_000), "has too many pixels: 10,000 x 9,000, at most 64,000,000; make it smaller"),
    "a text that grows": (png(32, 32, bytes(10**7)), "cannot be read: it is damaged: Decompressed data too large"),
    "floats": (saved("tiff", Image.fromarray(GREY.astype(np.float32))), "has floating-point pixels"),
    "32 bits": (saved("tiff", Image.fromarray(GREY.astype(np.int32) * 10**6)), "has pixels of 32 bits"),
    "EPS": (saved("eps", COLOUR), "is not a picture"),  # Pillow would start Ghostscript
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = REFUSED[kind]
    (tmp_path / "x.png").write_bytes(data)
    if kind in ("huge", "large"):  # by the header: nothing is decoded
        monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    with pytest.raises(UserError) as error:
        read_picture(str(tmp_path / "x.png"))
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)


def test_a_damaged_file_never_raises_anything_else(tmp_path: Path) -> None:
    random, refused = np.random.default_rng(0), 0
    files = [KINDS[kind][0] for kind in ("PNG", "TIFF", "WebP", "JPEG", "palette", "BMP", "16-bit grey TIFF")]
    for data in [data for data in files for _ in range(40)]:
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), 5)] = random.integers(0, 256, 5)
        damaged[random.integers(0, min(64, len(data)))] ^= 1 << random.integers(8)
        (tmp_path / "x").write_bytes(damaged[: random.integers(len(data) // 2, len(data) + 1)].tobytes())
        try:
            assert read_picture(str(tmp_path / "x")).shape == (32, 32, 3)
        except UserError:
            refused += 1
    assert refused > 20


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a network with random weights."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("network") / "network.onnx"
    statistics = Statistics([0.5] * 3, [0.01] * 3)  # so small that predictions differ
    file.write_bytes(onnx_bytes(Net("lattice", 0.0), CLASSES, statistics, "digits"))
    return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, what is none, and a folder in it; the current one."""
    COLOUR.save(tmp_path / "b.png")
    (tmp_path / "a.png").write_text("text")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "inner").mkdir()
    Image.fromarray(GREY).save(tmp_path / "inner/c.JPG")
    for hidden in (".hidden", "inner/.trash"):
        (tmp_path / hidden).mkdir()
        COLOUR.save(tmp_path / hidden / "d.png")
    COLOUR.save(tmp_path / "._b.png")
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_what_is_refused_is_named_and_the_others_continue(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(["missing.png", ".", "none", "notes.txt", "inner/c.JPG"], network, 2, as_json=False) == 1
    output, errors = capsys.readouterr()
    heading, *rows = output.splitlines()
    assert heading.lower() == f"{HOW}:".lower()
    assert [row.split()[0] for row in rows] == ["./b.png", "./inner/c.JPG", "inner/c.JPG"]
    assert all(row.count(" %") == 2 for row in rows)
    assert [line.split(" ")[:4] for line in errors.splitlines()] == [
        ["error:", "none:", "is", "a"],  # found before any picture is read
        ["error:", "missing.png:", "cannot", "be"],
        ["error:", "./a.png:", "is", "not"],
        ["error:", "notes.txt:", "is", "not"],
    ]


@pytest.mark.usefixtures("folder")
def test_json_is_what_the_network_computes(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(["inner", "b.png"], network, 10, as_json=True) == 0
    output, errors = capsys.readouterr()
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["picture"] for line in lines] == ["inner/c.JPG", "b.png"]
    pictures = np.stack([read_picture(line["picture"]) for line in lines])
    for line, expected in zip(lines, probabilities(load_exported(Path(network)), pictures), strict=True):
        found = {each["class"]: each["probability"] for each in line["predictions"]}
        assert found == pytest.approx(dict(zip(CLASSES, map(float, expected), strict=True)), abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert errors == ""


def test_more_than_a_batch_stays_in_order(
    network: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And on a terminal with a progress bar, which standard output does not hold."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    many = folder / "many"
    many.mkdir()
    shades = range(2 * BATCH_SIZE + 3)
    for shade in shades:
        Image.new("L", (32, 32), shade).save(many / f"{shade:03}.png")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert classify(["many", "notes.txt"], network, 1, as_json=True) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["picture"] for line in found] == [f"many/{shade:03}.png" for shade in shades]
    model = load_exported(Path(network))
    expected = probabilities(model, np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in shades])).max(1)
    highest = [line["predictions"][0]["probability"] for line in found]
    np.testing.assert_allclose(highest, expected, atol=2e-6)
    assert f"/{len(shades) + 1} [" in terminal.getvalue()
    assert "error: notes.txt: is not a picture" in terminal.getvalue()


def test_a_name_cannot_write_on_the_terminal(network: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "line\nend \x1b[31m.png"
    COLOUR.save(folder / name)
    assert classify([name, "red\x1b[31m"], network, 1, as_json=False) == 1
    output, errors = capsys.readouterr()
    assert r"line\nend \x1b[31m.png  class" in output
    assert errors == "error: red\\x1b[31m: cannot be read: No such file or directory\n"


def test_what_may_not_be_read_is_named(
    network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_exported(Path(network))
    monkeypatch.setattr("cifar10.classify.command.load_exported", lambda _: model)
    with tempfile.TemporaryDirectory() as name:  # pytest's own are for one user alone
        folder = Path(name)
        folder.chmod(0o755)
        COLOUR.save(folder / "a.png")
        (folder / "a.png").chmod(0)
        (folder / "inner").mkdir(mode=0)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)  # root may read everything
        try:
            assert classify([f"{name}/a.png", name], network, 1, as_json=False) == 1
        finally:
            os.seteuid(user)
    denied = "cannot be read: Permission denied"
    files = [f"{name}/inner", f"{name}/a.png", f"{name}/a.png"]
    assert capsys.readouterr().err.splitlines() == [f"error: {file}: {denied}" for file in files]


def test_without_a_network_one_line_says_what_to_do(
    network: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar10.classify.command.RELEASE", folder / "release/cifar10.onnx")
    with pytest.raises(UserError, match=r"release/cifar10\.onnx: is missing; .*--model FILE PICTURE$"):
        classify(["b.png"], None, 1, as_json=False)
    with pytest.raises(UserError, match=r"^x\.onnx: is missing; .* dvc repro"):
        classify(["b.png"], "x.onnx", 1, as_json=False)
    with pytest.raises(UserError, match=r"^b\.png: cannot be read: not an ONNX file that can be run: "):
        classify(["b.png"], "b.png", 1, as_json=False)
    with pytest.raises(UserError, match=r"^--top must be from 1 to 10, the number of classes \(got 11\)$"):
        classify(["b.png"], network, 11, as_json=False)
    assert (ROOT / "release/cifar10.onnx").exists()


def start(*arguments: str, code: str = "", **options: int) -> "subprocess.Popen[bytes]":
    """`python -m cifar10 classify`, or `code` with these arguments."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "cifar10")), "classify", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload,no-any-return]


@pytest.mark.usefixtures("folder")
def test_the_command_reads_standard_input_and_loads_no_torch(network: str) -> None:
    """Nor anything else that takes long."""
    code = """
import sys
from cifar10.__main__ import main
try:
    main()
finally:
    heavy = {"torch", "torchvision", "onnx", "pydantic", "dvc", "matplotlib", "sklearn", "cv2", "tqdm"}
    print("loaded:", *sorted(heavy & set(sys.modules)))
"""
    with start("-", "--model", network, "--top", "1", "--json", code=code) as process:
        output, errors = process.communicate(saved("png", COLOUR))
    answer, loaded = output.decode().splitlines()
    assert json.loads(answer)["picture"] == "-"
    assert loaded == "loaded:"
    assert (errors, process.returncode) == (b"", 0)


@pytest.mark.usefixtures("folder")
def test_the_command_ends_without_a_traceback(network: str) -> None:
    with start("b.png", "a.png", "--model", network) as process:
        output, errors = process.communicate()
    assert (output.count(b"\n"), process.returncode) == (2, 1)
    assert errors.startswith(b"error: a.png: is not a picture")
    # A reader that has ended, as head has.
    reading, writing = os.pipe()
    os.close(reading)
    with start("b.png", "--model", network, stdout=writing) as process:
        _, errors = process.communicate()
    os.close(writing)
    assert (errors, process.returncode) == (b"", -signal.SIGPIPE)
    # Ctrl-C, while it waits for standard input.
    with start("a.png", "-", "--model", network) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"error: a.png: ")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGINT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full disk at hand")
@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_named(network: str) -> None:
    with Path("/dev/full").open("wb") as full, start("b.png", "--model", network, stdout=full.fileno()) as process:
        _, errors = process.communicate()
    assert errors == b"error: standard output: cannot be written: No space left on device\n"
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [["--top", "0", "x"], ["--top", "x", "x"], [], ["--nothing", "x"]])
def test_wrong_arguments_are_refused_before_anything_is_loaded(arguments: list[str]) -> None:
    with start(*arguments) as process:
        output, errors = process.communicate()
    assert (output, process.returncode) == (b"", 2)
    assert errors.startswith(b"usage: cifar10")
