"""cifar10 classify: what is refused is named, the others continue, and the network's answer is what it computes."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
import torch
from PIL import Image

from cifar10.classify.lines import print_lines
from cifar10.core.data import Statistics
from cifar10.core.errors import UserError
from cifar10.export.graph import onnx_bytes
from cifar10.export.session import BATCH_SIZE, load_exported, probabilities
from cifar10.network.model import Net
from cifar10.pictures import HOW
from cifar10.pictures.picture import read_picture
from cifar10.pictures.reader import Reader
from tests.clone import ROOT
from tests.test_faults import read_only

COLOUR = Image.merge("RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256))])
CLASSES = [f"class {i}" for i in range(10)]


def classify(arguments: list[str], model_file: str | None, top: int | None, as_json: bool) -> int:
    with Reader() as reader:
        return print_lines(reader, arguments, model_file, top, as_json)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a network with random weights."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("network") / "network.onnx"
    statistics = Statistics([0.5] * 3, [0.01] * 3)  # so small that predictions differ
    file.write_bytes(onnx_bytes(Net("lattice", 0.0, classes=10), CLASSES, statistics, "digits"))
    return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, what is none, and a folder in it; the current one."""
    COLOUR.save(tmp_path / "b.png")
    (tmp_path / "a.png").write_text("text", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("text", encoding="utf-8")
    (tmp_path / "inner").mkdir()
    Image.linear_gradient("L").save(tmp_path / "inner/c.JPG")
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
    which, heading, *rows = output.splitlines()
    assert which == f"Network: {network} (trained on digits)"
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
    files = [io.BytesIO(Path(line["picture"]).read_bytes()) for line in lines]
    pictures = np.stack([np.asarray(read_picture(file)) for file in files])
    for line, expected in zip(lines, probabilities(load_exported(Path(network)), pictures), strict=True):
        found = {each["class"]: each["probability"] for each in line["predictions"]}
        assert found == pytest.approx(dict(zip(CLASSES, map(float, expected), strict=True)), abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert errors == ""


def test_more_than_a_batch_stays_in_order(
    network: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And on a terminal with a progress bar, which standard output does not hold."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    many = folder / "many"
    many.mkdir()
    shades = range(2 * BATCH_SIZE + 3)
    for shade in shades:
        Image.new("L", (32, 32), shade).save(many / f"{shade:03}.png")
    monkeypatch.setattr("sys.stderr", terminal)
    assert classify(["many", "notes.txt"], network, 1, as_json=True) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["picture"] for line in found] == [f"many/{shade:03}.png" for shade in shades]
    model = load_exported(Path(network))
    expected = probabilities(model, np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in shades])).max(1)
    highest = [line["predictions"][0]["probability"] for line in found]
    np.testing.assert_allclose(highest, expected, atol=2e-6)
    assert f"/{len(shades) + 1} [" in terminal.getvalue()
    assert "error: notes.txt: is not a picture" in terminal.getvalue()


def test_a_network_of_two_classes_prints_both(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the user's own pictures; three classes are printed if there are as many."""
    network, statistics = Net("lattice", 0.0, classes=2), Statistics([0.5] * 3, [0.25] * 3)
    (folder / "two.onnx").write_bytes(onnx_bytes(network, ["cat", "dog"], statistics, "pictures"))
    COLOUR.save(folder / "a.png")
    assert classify(["a.png"], "two.onnx", None, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]
    assert {each["class"] for each in found} == {"cat", "dog"}
    assert sum(each["probability"] for each in found) == pytest.approx(1, abs=1e-5)


def test_a_name_cannot_write_on_the_terminal(network: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "line\nend \x1b[31m.png"
    COLOUR.save(folder / name)
    assert classify([name, "red\x1b[31m"], network, 1, as_json=False) == 1
    output, errors = capsys.readouterr()
    assert r"line\nend \x1b[31m.png  class" in output
    assert errors == "error: red\\x1b[31m: cannot be read: No such file or directory\n"
    classes = ["a\x1b[2J", "b"]
    data = onnx_bytes(Net("lattice", 0.0, classes=2), classes, Statistics([0.5] * 3, [0.25] * 3), "pictures")
    (folder / "other.onnx").write_bytes(data)  # somebody else's
    assert classify([name], "other.onnx", 2, as_json=False) == 0
    output = capsys.readouterr().out
    assert output.replace("\n", "").isprintable()
    assert r"a\x1b[2J" in output


def test_with_standard_error_closed_the_results_stay_alone(network: str, folder: Path) -> None:
    command = [sys.executable, "-m", "cifar10", "classify", "--json", "a.png", "b.png", "--model", network]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=folder, env=env, stdout=subprocess.PIPE)
    assert [json.loads(line)["picture"] for line in done.stdout.splitlines()] == ["b.png"]
    assert done.returncode == 1


def test_what_a_phone_takes_is_refused_and_not_passed_over(
    network: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "phone").mkdir()
    (folder / "phone/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert classify(["phone"], network, 1, as_json=False) == 1
    said = "is of an unsupported kind, such as HEIC or a film; save it as PNG"
    assert capsys.readouterr().err == f"error: phone/IMG_1.HEIC: {said}\n"


def test_what_may_not_be_read_is_named(
    network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_exported(Path(network))
    monkeypatch.setattr("cifar10.classify.lines.load_exported", lambda _: model)
    with Reader() as reader, tempfile.TemporaryDirectory() as name:  # pytest's own are for one user alone
        folder = Path(name)
        COLOUR.save(folder / "a.png")
        (folder / "a.png").chmod(0)
        (folder / "inner").mkdir(mode=0)
        with read_only(folder):  # root may read everything
            assert print_lines(reader, [f"{name}/a.png", name], network, 1, as_json=False) == 1
    denied = "cannot be read: Permission denied"
    files = [f"{name}/inner", f"{name}/a.png", f"{name}/a.png"]
    assert capsys.readouterr().err.splitlines() == [f"error: {file}: {denied}" for file in files]


def test_without_a_network_one_line_says_what_to_do(
    network: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar10.classify.lines.RELEASE", folder / "release/cifar10.onnx")
    with pytest.raises(UserError, match=r"release/cifar10\.onnx: is missing; .*--model FILE PICTURE$"):
        classify(["b.png"], None, 1, as_json=False)
    with pytest.raises(UserError, match=r"^x\.onnx: is missing; .* dvc repro"):
        classify(["b.png"], "x.onnx", 1, as_json=False)
    with pytest.raises(UserError, match=r"^b\.png: cannot be read: not an ONNX file that can be run: "):
        classify(["b.png"], "b.png", 1, as_json=False)
    model = onnx.load(network)
    no_number = '{"recipe": "x", "seed": 0, "accuracy": NaN}'
    for card in ("[1]", '"abc"', "5", '{"recipe": "x"}', no_number, "{", "[" * 9999):
        onnx.helper.set_model_props(model, {"classes": json.dumps(CLASSES), "dataset": '"digits"', "card": card})
        onnx.save(model, "broken.onnx")
        with pytest.raises(UserError, match=r"^broken\.onnx: cannot be read: an ONNX file with broken metadata: "):
            classify(["b.png"], "broken.onnx", 1, as_json=False)
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
    heavy = {"torch", "torchvision", "onnx", "pydantic", "dvc", "matplotlib", "sklearn", "cv2", "tqdm", "PIL"}
    print("loaded:", *sorted(heavy & set(sys.modules)))
"""
    with start("-", "--model", network, "--top", "1", "--json", code=code) as process:
        output, errors = process.communicate(Path("b.png").read_bytes())
    answer, loaded = output.decode().splitlines()
    assert json.loads(answer)["picture"] == "-"
    assert loaded == "loaded:"
    assert (errors, process.returncode) == (b"", 0)


@pytest.mark.usefixtures("folder")
def test_the_command_ends_without_a_traceback(network: str) -> None:
    with start("b.png", "a.png", "--model", network) as process:
        output, errors = process.communicate()
    assert (output.count(b"\n"), process.returncode) == (3, 1)
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
        decoders = psutil.Process(process.pid).children()
        assert len(decoders) == 1
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert psutil.wait_procs(decoders, timeout=60)[1] == []  # it does not outlive the command
    assert process.returncode == -signal.SIGINT


def test_a_pipe_is_read_only_if_it_is_named(network: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder, nobody may ever write into it."""
    pipe = folder / "inner/pipe.png"
    os.mkfifo(pipe)
    data = (folder / "b.png").read_bytes()
    for argument, refused in (("inner", 1), ("inner/pipe.png", 0)):
        threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True).start()  # it waits for a reader
        assert classify([argument], network, 1, as_json=False) == refused
        assert not refused or pipe.read_bytes() == data
    output, errors = capsys.readouterr()
    assert [line.split()[0] for line in output.splitlines()[2::3]] == ["inner/c.JPG", "inner/pipe.png"]
    assert errors == "error: inner/pipe.png: is a pipe, which is read only if the command names it\n"


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
