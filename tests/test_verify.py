"""make verify: the files as they are, run elsewhere; whatever ends it, nothing of it is left."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import pytest
from ruamel.yaml import YAML

from cifar10.core.errors import UserError
from tests.clone import Clone, running
from tests.repository import commit, git, init
from tools.session import end
from tools.start import run_tool
from tools.verify import in_interval, verify

LOCK = "stages: {make: {outs: [{path: out.txt, md5: abc, size: 1}, {path: metrics/run.json, md5: def, size: 2}]}}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a dvc.lock and a metrics/run.json, committed. Its copies are made in .../temporary."""
    path = tmp_path / "repository"
    (path / "metrics").mkdir(parents=True)
    (path / "dvc.lock").write_text(LOCK)
    (path / "metrics/run.json").write_text('{"precision": "fp32", "seconds": 1.5}\n')
    init(path, monkeypatch)
    commit()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("tools.verify.DVC", str(tmp_path / "dvc"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    return path


def fake_dvc(repository: Path, repro: str, status: str = "echo '{}'") -> None:
    """Make `dvc` run these lines of shell."""
    dvc = repository.parent / "dvc"
    dvc.write_text(f"#!/bin/sh\ncase $1 in\nstatus) {status} ;;\nrepro) {repro} ;;\nesac\n")
    dvc.chmod(0o755)


def refusal(capfd: pytest.CaptureFixture[str]) -> str:
    """Why `make verify` fails in the current folder; nothing else is said."""
    with pytest.raises(UserError) as error:
        verify()
    assert capfd.readouterr() == ("", "")
    return str(error.value)


def test_what_matches_and_what_does_not(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the real dvc status, and for dvc repro a copy of what it has made before."""
    real, copied = shlex.quote(str(Path(sys.executable).with_name("dvc"))), tmp_path / "made"
    shutil.copytree(clone.path, copied, symlinks=True)
    names = ("dvc.lock", "data", "models", "metrics", "plots")
    made = " ".join(shlex.quote(str(copied / name)) for name in names)
    fake_dvc(clone.path, f"cp -R {made} .", f'exec {real} "$@"')
    monkeypatch.setattr("tools.verify.DVC", str(clone.path.parent / "dvc"))
    clone.enter(monkeypatch)
    lock = clone.path / "dvc.lock"
    lock.write_text(re.sub(r"(path: plots/lr.csv\n +hash: md5\n +md5: )\w{32}", rf"\g<1>{'a' * 32}", lock.read_text()))
    run_json = clone.path / "metrics/run.json"
    run_json.write_text(run_json.read_text().replace('"precision": "', '"precision": "not '))
    with pytest.raises(UserError, match=r"^not the same bytes; .*: precision was not (\w+), is \1 here$"):
        verify()
    output = capfd.readouterr().out
    assert re.search(r"^test accuracy (0\.\d{4}) here, inside the 95 % interval of \1, ", output, re.MULTILINE)
    lines = dict(line.split()[::-1] for line in output.splitlines() if line.startswith(("same", "DIFFERENT")))
    stages = YAML(typ="safe", pure=True).load(lock.read_text())["stages"].values()
    expected = {out["path"]: "same" for stage in stages for out in stage["outs"]} | {"plots/lr.csv": "DIFFERENT"}
    del expected["metrics/run.json"]
    assert lines == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors compute other bits")
def test_this_processor_computes_the_bits_of_any_other(clone: Clone) -> None:
    file = clone.path / "release/portable.json"
    expected = json.loads(file.read_text())
    expected["digits"]["plots/lr.csv"] = "a" * 32
    file.write_text(json.dumps(expected))
    output = clone.run("python", "-m", "tools.portable", code=1)
    lines = dict(line.split()[::-1] for line in output.splitlines() if line.startswith(("same", "DIFFERENT")))
    assert lines == dict.fromkeys(expected["digits"], "same") | {"plots/lr.csv": "DIFFERENT"}
    assert lines["models/model.safetensors"] == "same"
    assert output.splitlines()[-1].startswith("error: portable: not the bytes of release/portable.json; if the code")


def test_another_machine_hears_whether_its_network_is_as_good() -> None:
    then = {"accuracy": 0.9, "accuracy_low": 0.89, "accuracy_high": 0.91}
    for accuracy, where in ((0.89, "inside"), (0.91, "inside"), (0.8899, "OUTSIDE"), (0.92, "OUTSIDE")):
        line = f"test accuracy {accuracy:.4f} here, {where} the 95 % interval of 0.9000, 0.8900 to 0.9100"
        assert in_interval({"accuracy": accuracy}, then) == line
    assert in_interval({}, then) == "the accuracies cannot be compared: a metrics/test.json has none"


def test_a_lock_of_other_parameters_or_code_is_found_before_running(clone: Clone) -> None:
    train = clone.path / "stages/train.py"
    clone.set_params(lr=0.3)
    train.write_text(train.read_text() + "# changed\n")
    output = clone.run("python", "-m", "tools.verify", code=1)
    message = (
        "error: verify: dvc.lock is outdated: train: stages/train.py, lr changed; dvc repro, then this command again\n"
    )
    assert output == message


def test_a_changed_command_and_missing_outputs(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What was made is not in the copy yet, and does not count."""
    missing = '{"changed deps": {"out.txt": "deleted", "out.txt/x": "deleted"}}, {"changed outs": {"a": "modified"}}'
    status = f"""echo '{{"first": [{missing}], "make": [{missing}, "changed command"]}}'"""
    fake_dvc(repository, "echo repro", status)
    assert refusal(capfd) == "dvc.lock is outdated: make: cmd changed; dvc repro, then this command again"


def test_a_lock_of_several_runs_is_found_before_running(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As after `dvc exp run train`: the later stages have read another network, which is in no copy."""
    later = "use: {deps: [{path: out.txt, md5: of another run}, {path: code.py, md5: abc}]}"
    (repository / "dvc.lock").write_text(LOCK.replace("stages: {", f"stages: {{{later}, "))
    fake_dvc(repository, "echo repro", """echo '{"use": [{"changed deps": {"out.txt": "deleted"}}]}'""")
    assert refusal(capfd) == "dvc.lock is outdated: use: out.txt changed; dvc repro, then this command again"


def test_the_copy_holds_the_files_as_they_are(
    repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (repository / ".gitignore").write_text("ignored.txt\n")
    for name in ("changed", "deleted", "kept"):
        (repository / f"{name}.txt").write_text("committed")
    commit()
    (repository / "changed.txt").write_text("changed")
    (repository / "staged.txt").write_text("staged")
    git("add", "staged.txt")
    (repository / "staged.txt").write_text("changed after that")
    (repository / "deleted.txt").unlink()
    (repository / "ignored.txt").write_text("ignored")
    (repository / "new").mkdir()
    (repository / "new/mödule.py").write_text("new")
    (repository / " two\nlines").write_text("new")
    (repository / "run.sh").touch(mode=0o755)
    (repository / "link").symlink_to("kept.txt")
    # Configuration that fails each commit, should there be any.
    hook = repository / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git("config", "commit.gpgsign", "true")
    git("config", "gpg.program", "false")

    before = git("status", "--porcelain=v2"), git("for-each-ref")
    fake_dvc(repository, f"cp -RP . '{tmp_path}/copy'")
    verify()
    assert capfd.readouterr().out == "\nsame       out.txt\n"
    assert not list((tmp_path / "temporary").iterdir())
    assert (git("status", "--porcelain=v2"), git("for-each-ref")) == before

    shutil.rmtree(tmp_path / "copy/.git")
    found = {str(path.relative_to(tmp_path / "copy")): path for path in (tmp_path / "copy").rglob("*")}
    assert {name: path.read_text() for name, path in found.items() if path.is_file()} == {
        ".gitignore": "ignored.txt\n",
        " two\nlines": "new",
        "changed.txt": "changed",
        "dvc.lock": LOCK,
        "kept.txt": "committed",
        "link": "committed",
        "metrics/run.json": '{"precision": "fp32", "seconds": 1.5}\n',
        "new/mödule.py": "new",
        "run.sh": "",
        "staged.txt": "changed after that",
    }
    assert found["link"].is_symlink()
    assert os.access(found["run.sh"], os.X_OK)


# At SIGTERM, DVC dies; its stage takes 0.2 s more, in which it still writes.
STAGE = """
sh -c 'trap "sleep 0.2; mkdir -p $PWD/late; touch $PWD/late/file; exit" TERM
    echo $$ $PPID
    while :; do sleep 0.1; done' 2> /dev/null & wait
"""


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
def test_a_signal_ends_dvc_and_its_stage_and_leaves_nothing(repository: Path, tmp_path: Path, number: Signals) -> None:
    fake_dvc(repository, STAGE)
    reading, writing = os.pipe()

    def work() -> None:
        os.dup2(writing, 1)
        sys.stdout = sys.stderr = (tmp_path / "errors").open("w", encoding="utf-8", buffering=1)
        run_tool("verify", verify)

    process = get_context("fork").Process(target=work)
    process.start()
    os.close(writing)
    with open(reading, encoding="utf-8") as output:  # noqa: PTH123 # a descriptor
        pids = [int(pid) for pid in output.readline().split()]
        try:
            assert len(list((tmp_path / "temporary").iterdir())) == 1
            os.kill(process.pid or 0, number)
            process.join(20)
            assert process.exitcode == 128 + number
            assert [pid for pid in pids if running(pid)] == []
            assert list((tmp_path / "temporary").iterdir()) == []
            said = (tmp_path / "errors").read_text()
            assert said == f"error: verify: stopped by {number.name}; the copy is removed\n"
        finally:
            process.kill()
            for pid in pids:  # those that a failed assertion has left
                with suppress(ProcessLookupError):
                    os.kill(pid, SIGKILL)


def test_a_stage_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"]
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds / 20))
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            end(process)
            assert process.wait(timeout=5) == -SIGKILL
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("dvc.lock", None),
        ("dvc.lock", "<<<<<<< ours\nstages:\n"),
        ("dvc.lock", "stages: [1]\n"),
        ("metrics/run.json", None),
        ("metrics/run.json", '{"precision": '),
        ("metrics/run.json", "[]"),
    ],
)
def test_a_missing_or_broken_file_is_one_line(
    repository: Path, capfd: pytest.CaptureFixture[str], path: str, content: str | None
) -> None:
    (repository / path).unlink()
    if content is not None:
        (repository / path).write_text(content)
    assert refusal(capfd) == f"{path}: missing or broken; make it: dvc repro, or if committed: git restore {path}"


def test_failures_of_dvc_and_git_are_one_line(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for repro, status, failed in (("exit 3", "echo '{}'", "repro"), ("echo ran", "exit 3", "status")):
        fake_dvc(repository, repro, status)
        assert refusal(capfd) == f"dvc {failed} failed, see above"
    shutil.rmtree(repository / ".git")
    assert re.fullmatch("git ls-files: fatal: not a git repository.*", refusal(capfd))
