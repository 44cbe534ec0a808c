"""make report: a page that holds every number, loads nothing, and says what it is not sure of; on made-up results."""

import base64
import hashlib
import html
import json
import os
import re
import runpy
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cifar10.core.data import Split
from cifar10.core.errors import UserError
from stages.support.formats import write_split
from tests.clone import PARAMS, changed
from tests.repository import commit, git, init
from tools.records import RESTORE
from tools.report import main
from tools.start import run_tool
from tools.tryit import TryIt
from tools.watch import page

SCRIPT = "<script>alert(1)</script>"
METRICS: dict[str, dict[str, Any]] = yaml.safe_load(f"""
dataset: {{images: 54321, classes: [cat, {SCRIPT}], counts: [23456, 30865],
  mean: [0.4123, 0.4234, 0.4345], std: [0.2123, 0.2234, 0.2345]}}
train: {{train_loss: 0.22661, train_accuracy: 0.92241, validation_loss: 0.29663, validation_accuracy: 0.89943,
  parameters: 189377, receptive_field: 117, multiply_adds: 15722417}}
test: {{dataset: cifar10, accuracy: 0.89662, accuracy_low: 0.89051, accuracy_high: 0.90244, loss: 0.31613,
  macro_f1: 0.89617, calibration_error: 0.02443, tta_accuracy: 0.90781}}
export: {{onnx_accuracy: 0.89671, equal_top1: 0.99987, largest_difference: 0.00123, bytes: 765432}}
run: {{seconds: 3291.9, processor: a processor, instruction_set: AVX2, precision: fp32, threads: 2,
  versions: [torch 2.11.0, numpy 2.4.6]}}
""")
SHOWN = [
    *("54,321", "23,456", "30,865", "0.4123", "0.4234", "0.4345", "0.2123", "0.2234", "0.2345"),
    *("0.2266", "0.9224", "0.2966", "0.8994", "189,377", "117", "15,722,417"),
    *("0.8966", "0.8905", "0.9024", "0.3161", "0.8962", "0.0244", "0.9078", "0.8967", "0.9999", "765,432"),
    *("3,291.9", "AVX2", "torch 2.11.0, numpy 2.4.6"),
]
CURVE = "epoch,split,{0},best\n1,train,1.5,0\n2,train,1.25,0\n1,validation,1.375,0\n2,validation,1.125,1\n"
PLOTS = {
    "loss": CURVE.format("loss"),
    "accuracy": CURVE.format("accuracy"),
    "lr": "step,optimizer,lr\n0,muon,0.01\n0,sgd,0.2\n50,muon,0.005\n50,sgd,0.1\n",
    "per_class": f"class,precision,recall,f1\ncat,0.9123,0.8123,0.8594\n{SCRIPT},0.7123,0.6123,0.6585\n",
    "predictions": f"actual,predicted,confidence\ncat,cat,0.900\ncat,{SCRIPT},0.987\n{SCRIPT},cat,0.700\n",
    "reliability": "confidence,accuracy,images\n0.4,0.5,1\n0.9,0.8,2\n",
}
FILES = {f"metrics/{name}.json": json.dumps(values) for name, values in METRICS.items()}
FILES |= {f"plots/{name}.csv": text for name, text in PLOTS.items()}


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path, monkeypatch)
    for folder in ("metrics", "plots", "recipes"):
        Path(folder).mkdir()
    for path, text in FILES.items():
        Path(path).write_text(text, encoding="utf-8")
    for i, name in enumerate(("samples", "network", "mistakes", "examples")):
        Image.new("RGB", (40 + i, 30)).save(f"plots/{name}.png")
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    Path("recipes/default.yaml").write_text("ema: 0.5\n", encoding="utf-8")
    Path("recipes/slow.yaml").write_text("lr: 0.01\n", encoding="utf-8")
    Path(".gitignore").write_text("report.html\n", encoding="utf-8")
    digests = {path: hashlib.md5(text.encode()).hexdigest() for path, text in FILES.items()} | {"data": "abc.dir"}
    outs = "".join(f"    - path: {path}\n      md5: {md5}\n      size: 98765\n" for path, md5 in digests.items())
    momentum = yaml.safe_load(PARAMS)["muon"]["momentum"]
    Path("dvc.lock").write_text(
        "stages:\n  train:\n    params:\n      params.yaml:\n        lr: 0.2\n"
        f"        muon:\n          momentum: {momentum}\n    outs:\n{outs}",
        encoding="utf-8",
    )
    commit()


def report(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    main()
    return Path("report.html").read_text(encoding="utf-8")


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int = 1) -> list[str]:
    """The lines on stderr of a run that must fail."""
    monkeypatch.setattr(sys, "argv", ["report"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_tool("report", main)
    assert stop.value.code == code
    output, errors = capsys.readouterr()
    assert output == ""
    return errors.splitlines()


def text(page: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())


def test_every_number_is_there_and_the_same_files_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = report(monkeypatch)
    assert [number for number in SHOWN if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", text(page))] == []
    assert "89.66 % test accuracy, from 89.05 % to 90.24 % with 95 % probability" in text(page)
    for row in PLOTS["per_class"].splitlines()[1:]:
        for number in row.split(",")[1:]:
            assert f">{number}<" in page
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    assert all(md5 in page for md5 in re.findall(r"md5: (\S+)", lock))
    assert git("rev-parse", "HEAD") in page
    assert report(monkeypatch) == page


def test_the_page_loads_nothing_and_names_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(SCRIPT.replace("/", "")).touch()  # not committed, so it is named
    page = report(monkeypatch)
    assert len(page.encode()) < 3_000_000
    assert len(ids := re.findall(r' id="([^"]+)"', page)) == len(set(ids))
    assert page.count('src="data:image/png;base64,') == 4
    loading = r"\bsrc\s*=|\bhref\s*=(?!.#)|\bsrcset\b|url\(|@import|<link|<script|<iframe|https?:"
    assert len(re.findall(loading, page)) == 4
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", page))
    assert page.count("&lt;script&gt;") >= 6


def test_the_best_epoch_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = text(report(monkeypatch))
    assert "1.1250, epoch 2" in seen  # on the validation curve
    assert "2 of the 3 test images are classified wrongly" in seen


def test_what_is_not_committed_is_named_and_the_command_brings_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = text(report(monkeypatch))
    assert "The workspace is exactly this commit" in seen
    assert "make setup . .venv/bin/activate dvc repro make report" in seen
    assert "do not belong" not in seen
    Path("params.yaml").write_text(PARAMS.replace("lr: 0.2", "lr: 0.3"), encoding="utf-8")
    seen = text(report(monkeypatch))
    assert "Not in this commit: params.yaml." in seen
    Path(os.fsdecode(b"caf\xe9.jpg")).touch()
    assert "Not in this commit: caf\\udce9.jpg, params.yaml." in text(report(monkeypatch))
    assert "activate dvc exp run --set-param lr=0.3 make report" in seen
    assert "params.yaml has changed since the results were made: lr was 0.2, is 0.3." in seen
    Path("params.yaml").write_text(changed(PARAMS, lr=0.01, ema=0.5), encoding="utf-8")
    assert "make train RECIPE=slow SEED=0" in text(report(monkeypatch))


def test_a_file_that_dvc_lock_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("metrics/test.json").write_text(json.dumps(METRICS["test"] | {"accuracy": 0.99}), encoding="utf-8")
    assert "Not the file that dvc.lock records: metrics/test.json." in text(report(monkeypatch))


def test_compare_with_a_commit_and_an_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("metrics/test.json").write_text(json.dumps(METRICS["test"] | {"accuracy": 0.5}), encoding="utf-8")
    Path("params.yaml").write_text(PARAMS.replace("lr: 0.2", "lr: 0.1"), encoding="utf-8")
    Image.new("RGB", (99, 30)).save("plots/samples.png")
    before = commit_of_other_results()
    git("update-ref", f"refs/exps/ab/{'c' * 38}/low-lr", before)
    page = report(monkeypatch, "--compare", "low-lr")
    seen = text(page)
    assert "test.accuracy 0.8966 0.5000 +0.3966" in seen
    assert "lr 0.2 0.1 +0.1000" in seen
    assert "test.loss" not in seen  # it is equal
    assert "the workspace and low-lr: the same picture" in seen
    assert page.count('src="data:image/png;base64,') == 5  # samples.png alone differs
    assert "+39.66 points against low-lr" in seen
    assert page.count('aria-label="Loss"') == 1  # both runs in one chart
    assert len(re.findall('<g class="here">', page)) == len(re.findall('<g class="there">', page)) == 4
    assert text(report(monkeypatch, "--compare", before)).replace(before, "low-lr") == seen.replace(before, "low-lr")


def commit_of_other_results() -> str:
    """Commit what there is, then bring the first results back."""
    other = commit()
    git("checkout", "-q", "HEAD^", "--", ".")
    commit()
    return other


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("plots/loss.csv", None, "is missing"),
        ("plots/loss.csv", "epoch,split,loss\n1,train,1.5\n", "cannot be read: no column best"),
        ("plots/loss.csv", PLOTS["loss"].replace("1.25", "nan"), "cannot be read: no rows, or a number that is not fi"),
        ("plots/lr.csv", "step,optimizer,lr\n", "cannot be read: no rows"),
        ("plots/predictions.csv", "actual,predicted,confidence\ncat\n", "cannot be read: "),
        ("plots/network.png", "no picture", "cannot be read: "),
        ("metrics/test.json", "{", "cannot be read: "),
        ("metrics/test.json", "[]", "cannot be read: "),
        ("metrics/test.json", '{"dataset": "cifar10"}', "cannot be read: accuracy is missing or of another type"),
        ("metrics/test.json", json.dumps(METRICS["test"] | {"loss": float("nan")}), "cannot be read: "),
        (
            "metrics/dataset.json",
            json.dumps(METRICS["dataset"] | {"counts": [1]}),
            "cannot be read: classes and counts",
        ),
        ("dvc.lock", "stages: [", "cannot be read: "),
        ("dvc.lock", "stages: {train: {outs: [{path: data}]}}", "cannot be read: 'md5'"),
        ("dvc.lock", "schema: '2.0'\n", "cannot be read: "),
    ],
)
def test_a_missing_or_broken_file_is_one_line(
    path: str, content: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(path).unlink()
    if content is not None:
        Path(path).write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        report(monkeypatch)
    message = str(error.value)
    assert message.startswith(f"the workspace: {path} {reason}")
    assert message.endswith(f"; make it: dvc repro, or if committed: {RESTORE}")
    assert "\n" not in message
    assert not Path("report.html").exists()


def test_a_flipped_bit_in_a_picture_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(Path("plots/samples.png").read_bytes())
    data[-15] ^= 1
    Path("plots/samples.png").write_bytes(data)
    with pytest.raises(UserError, match=r"^the workspace: plots/samples.png cannot be read: "):
        report(monkeypatch)


def test_errors_end_with_one_line_and_leave_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["report", "--compare", "nonsense"])
    monkeypatch.delitem(sys.modules, "tools.report")  # otherwise runpy warns
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("tools.report", run_name="__main__")
    said = "error: report: nonsense is neither a commit nor an experiment; make show lists the experiments\n"
    assert (stop.value.code, *capsys.readouterr()) == (1, "", said)
    Path("params.yaml").write_text("lr: -1\nepochs: 0\n", encoding="utf-8")
    lines = fails(monkeypatch, capsys, code=2)
    assert "error: report: params.yaml: lr: must be > 0 (got -1)" in lines
    assert all(line.startswith("error: report: params.yaml: ") for line in lines)
    Path("params.yaml").unlink()
    assert fails(monkeypatch, capsys) == [
        "error: report: params.yaml: cannot be read: No such file or directory; git restore params.yaml"
    ]
    assert Path("report.html").read_text(encoding="utf-8") == page


def test_a_commit_without_the_files_and_a_name_of_two_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    git("rm", "-q", "--cached", "plots/reliability.csv")
    git("commit", "-qm", "without")
    with pytest.raises(UserError, match=r"^HEAD: plots/reliability.csv is missing; compare with a commit that has"):
        report(monkeypatch, "--compare", "HEAD")
    for base in ("c", "d"):
        git("update-ref", f"refs/exps/ab/{base * 38}/twice", "HEAD")
    git("update-ref", f"refs/exps/ab/{'d' * 38}/twice", "HEAD^")
    with pytest.raises(UserError, match=r"^2 experiments are called twice"):
        report(monkeypatch, "--compare", "twice")
    report(monkeypatch, "--compare", "twice@abddddd")  # as `make show` calls the one that has the file


def test_predictions_of_other_classes_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after `dvc repro compute_stats` on other data."""
    path = Path("metrics/dataset.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"cat"', '"lynx"'), encoding="utf-8")
    said = "plots/predictions.csv has a class cat, which metrics/dataset.json has not; make both: dvc repro"
    assert fails(monkeypatch, capsys) == [f"error: report: the workspace: {said}"]


def test_one_epoch_without_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loss", "accuracy"):
        Path(f"plots/{name}.csv").write_text(f"epoch,split,{name},best\n1,train,1.5,0\n", encoding="utf-8")
    assert "nan" not in report(monkeypatch)


def test_a_gallery_of_all_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one image, the most confident first; if data/test is not of these predictions, there is none."""
    images = np.zeros((3, 32, 32, 3), np.uint8)
    images[1, ..., 0] = images[2, ..., 2] = 255  # the mistakes: red with 98.7 %, blue with 70 %
    write_split("data/test", Split(images, np.array([0, 0, 1], np.uint8)))
    text = report(monkeypatch)
    found = re.findall(r"url\(data:image/webp;base64,([^)]+)\)", text)
    with Image.open(BytesIO(base64.b64decode(found[0]))) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape == (32, 40 * 32, 3)
    assert [pixels[:, 32 * i : 32 * i + 32].mean((0, 1)).argmax() for i in (0, 1)] == [0, 2]
    assert re.findall(r"position:-(\d+)px -0px\"></i>(\d+ %)", text) == [("0", "99 %"), ("64", "70 %")]
    targets = re.findall(r'class="cell" id="([^"]+)"', text)
    assert len(targets) == 2
    assert set(re.findall(r'<a href="#(cell-[^"]+)">', text)) == set(targets)
    write_split("data/test", Split(images, np.array([0, 1, 1], np.uint8)))
    assert "The pictures of all mistakes need" in report(monkeypatch)


def test_the_only_script_is_allowed_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "if (1 < 2) console.log('&');\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    monkeypatch.setattr("tools.report.try_it", lambda _: TryIt("{}", "", script, digest))
    text = report(monkeypatch)
    assert re.findall("<script>(.*?)</script>", text, re.DOTALL) == [script]
    assert f"script-src 'sha256-{digest}'\"" in html.unescape(text)


def test_a_page_follows_the_training() -> None:
    """Two of 35 epochs took 3,291.9 s; then no epoch has finished: DVC deletes what a stage is about to write."""
    speed = METRICS["run"] | {"images_per_second": 1234.5}
    Path("metrics/run.json").write_text(json.dumps(speed), encoding="utf-8")
    assert "<title>epoch 2 of 2</title>" in page(running=False).decode()  # an edited params.yaml is of the next one
    Path("checkpoints/a").mkdir(parents=True)
    Path("checkpoints/a/000002.pt").touch()
    text = page(running=False).decode()
    assert "<title>epoch 2 of 35</title>" in text
    for value in ("2 of 35", f"{33 * 3291.9 / 2 / 60:.0f} min", "1,234", "125.00 %", "112.50 %"):  # of made-up curves
        assert f"<b>{value}</b>" in text
    assert text.count("<svg") == 3
    assert "No training is running" in text
    assert "The same command resumes it." in text
    assert "http-equiv" not in text
    for stage in ("download", "train"):
        if stage == "train":
            Path("data").mkdir()
            Path("data/classes.json").touch()
            assert "<b>2 of 35</b>" in page(running=True).decode()
            Path("plots/loss.csv").unlink()
        text = page(running=True).decode()
        assert "The training is running" in text
        assert '<meta http-equiv="refresh" content="5">' in text
        assert "No epoch has finished yet" in text
        assert "<svg" not in text


def test_many_classes_have_no_table_but_the_worst_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"class {i}" for i in range(40)]
    Path("metrics/dataset.json").write_text(
        json.dumps(METRICS["dataset"] | {"classes": names, "counts": [1] * 40}), encoding="utf-8"
    )
    rows = "".join(f"{name},0.9,0.9,{0.5 + i / 100:.2f}\n" for i, name in enumerate(names))
    Path("plots/per_class.csv").write_text(f"class,precision,recall,f1\n{rows}", encoding="utf-8")
    Path("plots/predictions.csv").write_text(
        "actual,predicted,confidence\nclass 1,class 2,0.9\nclass 3,class 3,0.8\n", encoding="utf-8"
    )
    page = report(monkeypatch)
    assert "The table of 40 classes is too large" in page
    assert 'class="wrong"' not in page
    shown = re.findall(r"<title>(class \d+)</title>", page)
    assert shown == [f"class {i}" for i in range(29, -1, -1)]
    assert "class 1 → class 2 (1)" in page


def test_two_datasets_are_not_compared_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("metrics/test.json").write_text(json.dumps(METRICS["test"] | {"dataset": "digits"}), encoding="utf-8")
    other = commit_of_other_results()
    assert "They are of different datasets, cifar10 and digits" in report(monkeypatch, "--compare", other)
