"""The whole pipeline through DVC, on a few digits, in a temporary clone whose path holds a space."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import vl_convert

from tests.clone import CHROMIUM, Clone


def test_plots_are_drawn_once_each(clone: Clone) -> None:
    clone.run("dvc", "plots", "show", "--out", "page")
    page = (clone.path / "page/index.html").read_text()
    for title in ("Loss", "Accuracy", "Learning rate", "F1 per class", "Confusion", "Reliability"):
        assert len(re.findall(rf'"title": (?:\{{"text": )?"{title}"', page)) == 1, title
    for image in ("samples.png", "network.png", "mistakes.png", "examples.png"):
        assert len(re.findall(rf"<img[^>]*{image}", page)) == 1, image


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_every_plot_without_a_network(clone: Clone, tmp_path: Path) -> None:
    """With the drawing library in the page, as setup.sh puts it there."""
    script = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub is wrong
    template = tmp_path / "template.html"
    template.write_text(f"<html><body><script>{script}</script>{{refresh_tag}}{{plot_divs}}</body></html>")
    (clone.path / ".dvc/config.local").write_text(f"[plots]\n    html_template = {template}\n")
    clone.run("dvc", "plots", "diff", "--out", str(tmp_path / "page"), "HEAD")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom")
    command = [str(CHROMIUM), *options, f"file://{tmp_path}/page/index.html"]
    page = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True)
    drawn = re.findall(r'(?s)<svg[^>]* class="marks".*?</svg>', page)
    assert len(drawn) == 6
    for plot in drawn:
        assert len(re.findall(r'<path aria-label="[^"]|<path [^>]*d="M[^"]{9,}', plot)) > 2  # not empty


def test_a_wrong_parameter_stops_before_any_work(clone: Clone) -> None:
    before = clone.outputs()
    output = clone.run("dvc", "exp", "run", "-S", "dataset=mnist", "-S", "lr=-1", code=255)
    assert "error: params.yaml: dataset: must be 'cifar10', 'digits' or 'pictures' (got 'mnist')\n" in output
    assert "error: params.yaml: lr: must be > 0 (got -1)\n" in output
    assert "Traceback" not in output
    assert clone.outputs().items() <= before.items()  # DVC deletes a stage's outs before it runs, no more ...
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")
    assert clone.outputs() == before  # ... and has them in its cache


def test_two_dvc_at_once(clone: Clone, tmp_path: Path) -> None:
    cold = Clone.make(tmp_path / "cold")
    both = [cold.start("dvc", "repro", "compute_stats") for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert 0 in [process.returncode for process in both], outputs
    assert not any("Traceback" in output for output in outputs)
    cold.run("dvc", "repro", "compute_stats")
    found, expected = cold.outputs(), clone.outputs()
    assert {name: found[name] for name in found if name.startswith("data")} == {
        name: expected[name] for name in expected if name.startswith("data")
    }
    assert found["metrics/dataset.json"] == expected["metrics/dataset.json"]


def test_a_damaged_cache_is_noticed_and_repaired_as_the_message_says(clone: Clone) -> None:
    before = clone.outputs()
    largest = max((clone.path / ".dvc/cache/files/md5").rglob("*"), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    with largest.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\x00\xff")
    largest.chmod(0o444)
    shutil.rmtree(clone.path / "data")
    clone.run("dvc", "checkout", "data")  # DVC trusts its cache
    assert clone.outputs() != before
    output = clone.run("python", "-m", "stages.compute_stats", code=1)
    start = "error: data/train: cannot be read: images.npy is damaged: its sha256 differs from the one in sha256.json; "
    assert output == f'{start}repair it with: chmod -R u+w "$(dvc cache dir)"; rm -r data/train; dvc repro\n'
    clone.run("sh", "-c", output.rpartition("repair it with: ")[2].strip() + " compute_stats")
    assert clone.outputs() == before
    shutil.rmtree(clone.path / "data")
    clone.run("dvc", "checkout", "data")
    assert clone.outputs() == before  # the cache is repaired, too
