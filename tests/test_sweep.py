"""make sweep: what runs, under which names; and, with Ray, that each experiment arrives once, whatever is lost."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cifar10.core.errors import UserError
from tests.clone import PARAMS, Clone, changed, running
from tests.repository import commit, git, init
from tools import session
from tools.records import experiment_refs
from tools.sweep import node
from tools.sweep.placement import Machine, place
from tools.sweep.plan import Experiment, grid, plan, rows, whole_number
from tools.sweep.refs import arrived, clean_commit, published

RAY = Path(sys.executable).with_name("ray")

# ---- what runs


def test_a_grid_is_every_combination() -> None:
    expected = [{"lr": lr, "seed": seed} for lr in ("0.1", "0.2") for seed in ("0", "1")]
    assert grid(["lr=0.1,0.2", "seed=0,1"]) == expected
    assert grid([]) == [{}]


def test_what_is_no_axis_or_given_twice_is_refused() -> None:
    for word in ("lr", "lr=", "=0.1", "lr=0.1,", "lr=0.1,,0.2"):
        with pytest.raises(UserError, match=f"^{word}: write a parameter and its values like this: lr=0.05,0.1$"):
            grid([word])
    with pytest.raises(UserError, match=r"lr: given twice; write its values together: lr=0\.1,0\.2"):
        grid(["lr=0.1", "lr=0.2"])


def test_rows_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("lr,muon.momentum\n0.1,0.9\n0.2,0.95\n")
    assert rows(file) == [{"lr": "0.1", "muon.momentum": "0.9"}, {"lr": "0.2", "muon.momentum": "0.95"}]
    file.write_text("\ufefflr, seed\n0.1, 0\n")  # as spreadsheets write it
    assert rows(file) == [{"lr": "0.1", "seed": "0"}]
    for text, fault in {
        "lr,lr\n0.1,0.2\n": "line 1: names a parameter twice: lr,lr",
        "lr,seed\n0.1\n": "line 2: needs one value for each column",
        "lr\n0.1\n0.2,3\n": "line 3: needs one value for each column",
        "lr,seed\n0.1,\n": "line 2: needs one value for each column",
        "lr,seed\n": "holds no experiment",
        "": "holds no experiment",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=fault):
            rows(file)
    with pytest.raises(UserError, match=r"no\.csv: cannot be read: No such file"):
        rows(tmp_path / "no.csv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, the current folder, with params.yaml in one commit."""
    init(tmp_path, monkeypatch)
    (tmp_path / "params.yaml").write_text(PARAMS)
    commit()
    return tmp_path


def test_names_follow_from_parameters_and_commit(folder: Path) -> None:
    settings = grid(["lr=0.1,1e-3", "seed=0,1"])
    found = plan(git("rev-parse", "HEAD"), PARAMS, {}, settings)
    names = [each.name for each in found]
    assert names == [each.name for each in plan(git("rev-parse", "HEAD"), PARAMS, {}, settings)]
    assert len(set(names)) == 4
    assert names[3].startswith("lr-1e-3_seed-1_")
    for name in names:
        git("check-ref-format", f"refs/exps/ab/cd/{name}")
    changes = found[3].changes
    assert changes == {"lr": 0.001, "seed": 1}
    (alone,) = plan(git("rev-parse", "HEAD"), PARAMS, {}, [settings[3]])
    assert alone.name.rpartition("_")[2] == names[3].rpartition("_")[2]  # whatever else the sweep asks for
    # What changes no byte makes no other experiment, as after `dvc exp apply` of one.
    applied = plan(git("rev-parse", "HEAD"), PARAMS, {"workers": "2", "threads": "auto"}, [settings[3]])
    assert applied[0].name == alone.name
    # A parameter that no axis names counts as well, and so does the code.
    other = plan(git("rev-parse", "HEAD"), PARAMS, {"ema": "0.5"}, settings)
    assert not set(names) & {each.name for each in other}
    (folder / "code.py").write_text("")
    assert not set(names) & {each.name for each in plan(commit(), PARAMS, {}, settings)}


@pytest.mark.usefixtures("folder")
def test_an_axis_comes_before_the_recipe_and_that_before_the_workspace() -> None:
    base = changed(PARAMS, dropout=0.5, batch_size=32, lr=0.9)
    (each,) = plan(git("rev-parse", "HEAD"), base, {"batch_size": "16", "lr": "0.3"}, [{"lr": "0.4"}])
    assert [each.params[name] for name in ("dropout", "batch_size", "lr")] == [0.5, 16, 0.4]


def machine(cpu: float, gpu: float = 0, name: str = "here") -> dict[str, Any]:
    return {"Resources": {"CPU": cpu, "GPU": gpu}, "NodeManagerHostname": name}


@pytest.fixture
def planned(folder: Path) -> Callable[[str], list[Experiment]]:
    """Plan experiments on parameters that leave everything about the machine to it."""
    base = changed(PARAMS, threads="auto", workers="auto", device="auto", batch_size=128)
    head = git("-C", str(folder), "rev-parse", "HEAD")
    return lambda words: plan(head, base, {}, grid(words.split()))


def test_each_experiment_gets_a_core_or_as_many_as_it_has_threads_or_a_gpu(
    planned: Callable[[str], list[Experiment]],
) -> None:
    (each,) = place(planned("lr=0.3"), 1, [machine(8)], never)
    assert [each.changes[name] for name in ("lr", "threads", "workers")] == [0.3, 1, 0]
    assert each.resources == {"num_cpus": 1}
    experiments = planned("lr=0.3")
    (each,) = place(experiments, 1, [machine(8), machine(8, 1)], never)
    assert each.changes == experiments[0].changes
    assert each.changes["threads"] == each.changes["workers"] == "auto"
    assert each.resources == {"num_gpus": 1, "num_cpus": 0}
    (each,) = place(planned("threads=4 workers=2 device=cpu"), 1, [machine(8, 1)], never)
    assert (each.changes["threads"], each.changes["workers"], each.resources) == (4, 2, {"num_cpus": 4})
    with pytest.raises(UserError, match=r"^threads: must be auto or <= 8, the cores of the largest machine \(got 9\)$"):
        place(planned("threads=9"), 1, [machine(8), machine(2)], never)


def never(_: Machine) -> list[int]:
    raise AssertionError("the memory of a GPU that is not shared does not matter")


@pytest.mark.parametrize("per_gpu", [2, 3, 7, 16, 100])
def test_experiments_that_share_a_gpu_share_its_cores(planned: Callable[[str], list[Experiment]], per_gpu: int) -> None:
    (each,) = place(planned("lr=0.3"), per_gpu, [machine(64, 2), machine(16, 1)], lambda _: [])
    assert each.changes["threads"] == 1
    assert each.changes["workers"] == {2: 4, 3: 4, 7: 1}.get(per_gpu, 0)  # with 16 cores, those of the smaller machine
    share = round(each.resources["num_gpus"] * 10_000)  # as Ray counts
    assert share * per_gpu <= 10_000 < share * (per_gpu + 1)
    (each,) = place(planned("threads=4 workers=3"), per_gpu, [machine(16, 1)], lambda _: [])
    assert (each.changes["threads"], each.changes["workers"], each.resources["num_cpus"]) == (4, 3, 0)


def test_a_gpu_is_shared_if_it_has_the_memory(planned: Callable[[str], list[Experiment]]) -> None:
    experiments = planned("lr=0.1 batch_size=128,1000")  # 2,500 MB + 4 MB for each of at most 1,000 images
    free = {"first": [6_500, 20_000], "second": [26_000]}
    machines = [machine(8, 1, "first"), machine(8, 1, "second")]
    place(experiments, 3, machines, lambda each: free[each["NodeManagerHostname"]])  # the GPU with more is the one
    for per_gpu, fault in {
        4: "PER_GPU=4: needs about 26,000 MB of each GPU, but one of first has 20,000 MB free; use PER_GPU=3",
        5: "PER_GPU=5: needs about 32,500 MB of each GPU, but one of first has 20,000 MB free; use PER_GPU=3",
    }.items():
        with pytest.raises(UserError, match=f"^{fault}$"):
            place(experiments, per_gpu, machines, lambda each: free[each["NodeManagerHostname"]])
    with pytest.raises(UserError, match=r"has 6,499 MB free; end what else uses it$"):
        place(experiments, 2, [machine(8, 1)], lambda _: [6_499])
    with pytest.raises(UserError, match=r"^PER_GPU=2: there is no GPU here; leave PER_GPU out$"):
        place(experiments, 2, [machine(8)], lambda _: [])
    place(experiments, 2, [machine(8, 1)], lambda _: [])  # not known
    place(planned("lr=0.1 device=cpu"), 16, [machine(8, 1)], never)
    (each,) = place(planned("lr=0.1 precision=portable"), 16, [machine(8, 1)], never)
    assert (each.changes["threads"], each.changes["workers"], each.resources) == (1, 0, {"num_cpus": 1})


def test_a_whole_number() -> None:
    assert whole_number("PER_GPU", "16", 100) == 16
    for text in ("0", "-1", "x", "1.5", "101", "\u0663", "02", "1" * 5000):
        with pytest.raises(
            UserError, match=rf"^PER_GPU must be a whole number from 1 to 100 \(got {re.escape(text)}\)$"
        ):
            whole_number("PER_GPU", text, 100)


@pytest.mark.usefixtures("folder")
def test_every_wrong_value_is_reported_before_anything_runs() -> None:
    with pytest.raises(UserError) as caught:
        plan(git("rev-parse", "HEAD"), PARAMS, {}, grid(["lr=-1,0.1", "seed=0,-5"]))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4  # -1 with 0; -1 with -5: two; 0.1 with -5
    assert lines[0].startswith("lr--1_seed-0: params.yaml: lr: must be > 0")
    with pytest.raises(UserError, match=r"^'muon\.lr' is no parameter; params.yaml lists them$"):
        plan(git("rev-parse", "HEAD"), PARAMS, {}, [{"muon.lr": "1"}])
    for word in ("lr.x=1", "lr=[1", 'lr="0.1', "lr=!foo 1", "tta=*x", "seed=2024-02-30"):
        with pytest.raises(UserError, match=r"is not as params\.yaml has it"):
            plan(git("rev-parse", "HEAD"), PARAMS, {}, grid([word]))
    for text in ("", "lr: [", "- 1"):
        with pytest.raises(UserError, match=r"^params\.yaml"):
            plan(git("rev-parse", "HEAD"), text, {}, grid(["lr=1"]))
    (one, _) = plan(git("rev-parse", "HEAD"), PARAMS, {}, grid(["momentum=0.8", "muon.momentum=0.8,0.9"]))
    assert one.name.startswith("momentum-0.8_")
    one, *_ = plan(git("rev-parse", "HEAD"), PARAMS, {}, grid(["momentum=0.7,0.8", "muon.momentum=0.8,0.9"]))
    assert one.name.startswith("momentum-0.7_muon.momentum-0.8_")
    for word in ("lr=0.1,0.10", "workers=0,1", "threads=auto,1", "tta=none,flip"):
        with pytest.raises(UserError, match=r"the same training twice; .*, and neither workers nor tta"):
            plan(git("rev-parse", "HEAD"), PARAMS, {}, grid([word]))


# ---- the repository


def test_the_code_must_be_committed_but_results_may_differ(folder: Path) -> None:
    (folder / "metrics").mkdir()
    (folder / "metrics/test.json").write_text("{}")
    (folder / "params.yaml").write_text("# changed")
    assert clean_commit() == git("rev-parse", "HEAD")
    (folder / "stages").mkdir()
    (folder / "stages/train.py").write_text("")
    message = r"experiments run the committed code, but stages/train\.py is new or changed; git commit first"
    with pytest.raises(UserError, match=message):
        clean_commit()
    with pytest.raises(UserError, match=message):
        clean_commit(Path("stages/other.csv"))
    (folder / "release").mkdir()
    (folder / "release/new").write_text("")  # a network may start from it
    with pytest.raises(UserError, match=r"but release/new, stages/train\.py is new"):
        clean_commit()
    shutil.rmtree(folder / "release")
    assert clean_commit(Path("stages/../stages/train.py")) == git("rev-parse", "HEAD")  # the table of settings


def test_a_cluster_needs_a_pushed_commit_and_a_committed_remote(folder: Path) -> None:
    git("init", "-q", "--bare", "origin.git")
    git("remote", "add", "origin", str(folder / "origin.git"))
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".gitignore").write_text("origin.git\n")
    last = commit()
    git("update-ref", "refs/remotes/backup/main", last)  # another remote has it
    with pytest.raises(UserError, match=f"origin, which has no commit {last[:7]}; git push first"):
        published(last)
    git("push", "-q", "origin", "main")
    with pytest.raises(UserError, match=r"a DVC remote, and .dvc/config has none"):
        published(last)
    remote = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = "
    (folder / ".dvc/config").write_text(f"{remote}../../there\n")
    with pytest.raises(UserError, match="has none"):  # not committed, so no other machine would have it
        published(last)
    last = commit()
    git("push", "-q", "origin", "main")
    with pytest.raises(UserError, match=r"dvc remote modify storage url /full/path \(got \.\./\.\./there\)"):
        published(last)
    for url in ("/there", '"/there, too"', "~/there", "https://there/My%20Data"):
        (folder / ".dvc/config").write_text(f"{remote}{url}\n")
        last = commit()
        git("push", "-q", "origin", "main")
        assert published(last) == str(folder / "origin.git")


def test_only_experiments_of_this_commit_have_arrived(folder: Path) -> None:
    old = git("rev-parse", "HEAD")
    (folder / "code.py").write_text("")
    new = commit()
    for base, name in ((old, "lr-0.1_a"), (new, "lr-0.2_b"), (new, "lr-0.3_c")):
        git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", base)
    asked = {"lr-0.1_a", "lr-0.2_seed-0_b", "d"}  # the same parameters, called otherwise in another sweep
    assert arrived(new, asked, fetch=False) == {"lr-0.2_seed-0_b"}
    assert arrived(old, asked, fetch=False) == {"lr-0.1_a"}
    assert experiment_refs(".") == experiment_refs()  # as if it were another repository
    assert {(ref.base, ref.name, ref.commit) for ref in experiment_refs()} >= {(old, "lr-0.1_a", old)}


# ---- nothing is left running


@pytest.mark.parametrize("killed", [False, True])
def test_a_session_ends_when_nobody_waits_for_it_any_more(killed: bool) -> None:
    """As where a Ray worker dies: the pipe closes, and Ray kills the process that the worker has started."""
    command = ["sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"]
    process = subprocess.Popen(
        [sys.executable, session.__file__, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    grandchild = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)  # does not count
    time.sleep(0.3)
    assert running(grandchild)
    if killed:
        process.kill()
    process.stdin.close()
    assert process.wait() != 0
    wait_for(lambda: not running(grandchild))
    process.stdout.close()


def test_a_session_gives_the_exit_code_and_ends_when_a_signal_raises() -> None:
    assert session.run_session(["sh", "-c", "exit 3"], lambda: False) == 3
    started: list[int] = []

    def interrupt() -> bool:
        while not started:  # its command line is empty for a moment
            started.extend(child.pid for child in psutil.Process().children() if "1234" in child.cmdline())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.run_session(["sleep", "1234"], interrupt)
    assert len(started) == 1
    assert not psutil.pid_exists(started[0])


# ---- with Ray: two machines, of which one is lost, and an experiment that fails

PIPELINE = """
stages:
  compute_stats:
    cmd: exec python work.py stats
    params: [dataset]
    outs: [data]
  train:
    cmd: exec python work.py train
    params: [lr, seed]
    deps: [data, work.py]
    outs: [model]
    metrics:
      - metrics/test.json: {cache: false}
"""
WORK = """
import json, os, pathlib, re, sys, time
if sys.argv[1] == "stats":
    pathlib.Path("data").write_text("data")
    sys.exit()
lr, seed = (float(re.search(rf"^{name}: (\\S+)", open("params.yaml").read(), re.M)[1]) for name in ("lr", "seed"))
with open(f"{FOLDER}/ran", "a") as ran:
    print(f"{lr:g} {seed:g}", file=ran)
if lr == 1000:
    sys.exit("error: train: the loss is not finite")
while seed == 1 and not os.path.exists(f"{FOLDER}/go on"):
    time.sleep(0.1)
pathlib.Path("model").write_text(f"{lr} {seed}")
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/test.json").write_text(json.dumps({"accuracy": lr}))
"""
SETUP = """
mkdir -p .venv/bin
printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$REAL_PYTHON" > .venv/bin/python
chmod +x .venv/bin/python
"""


class Machines:
    """A Ray cluster of two machines with one core each; `lose` kills the second."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.started, first = list[subprocess.Popen[bytes]](), folder / "first.log"
        head = ["--head", "--port", self.address[10:], "--temp-dir", str(folder), "--include-dashboard=false"]
        for name, where in {"first": head, "second": ["--address", self.address]}.items():
            command = [str(RAY), "start", *where, "--num-cpus=1", "--block", "--object-store-memory=100000000"]
            own = environment | {"XDG_CACHE_HOME": str(folder / name)}
            with (folder / f"{name}.log").open("wb") as log:
                self.started.append(subprocess.Popen(command, env=own, stdout=log, stderr=log, start_new_session=True))
            if name == "first":
                wait_for(lambda: self.started[0].poll() is not None or "Ray runtime started" in first.read_text())
                assert self.started[0].poll() is None, first.read_text()

    def lose(self) -> None:
        kill(self.started.pop())

    def end(self) -> None:
        for process in self.started:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Ray's processes of one machine, as when it loses power; what they have started is left to end by itself."""
    ours = [each for each in psutil.Process(process.pid).children(recursive=True) if "ray" in " ".join(each.cmdline())]
    for each in (psutil.Process(process.pid), *ours):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "tools" not in " ".join(each.cmdline()):
                each.kill()
    process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.1)


@pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed; make setup-cluster")
def test_each_experiment_arrives_once_although_a_machine_is_lost(tmp_path: Path) -> None:
    hub = Clone.make(tmp_path / "hub")
    (hub.path / "dvc.yaml").write_text(PIPELINE)
    (hub.path / "work.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{WORK}")
    (hub.path / "setup.sh").write_text(SETUP)
    hub.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    hub.run("git", "init", "-q", "--bare", str(tmp_path / "origin.git"))
    hub.run("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    hub.commit("sweep")
    hub.run("git", "push", "-q", "origin", "HEAD")
    short = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of Ray's sockets must be short
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    ray |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "")  # what Ray asks for is on this machine
    environment = hub.environment() | ray | {"REAL_PYTHON": sys.executable}
    machines = Machines(short, environment)
    command = ["env", *(f"{name}={value}" for name, value in ray.items()), sys.executable, "-m", "tools.sweep"]
    command += ["--file", str(tmp_path / "three.csv"), "--address", machines.address]
    (tmp_path / "three.csv").write_text("lr,seed\n0.1,0\n0.1,1\n1000,0\n")
    ran = tmp_path / "ran"
    try:
        sweep = hub.start(*command)
        wait_for(lambda: (ran.exists() and "0.1 1" in ran.read_text().splitlines()) or sweep.poll() is not None)
        machines.lose()
        (tmp_path / "go on").touch()
        output, _ = sweep.communicate()
        assert sweep.returncode == 1, output
        again = hub.run(*command, "--dry-run")
    finally:
        machines.end()
        shutil.rmtree(short, ignore_errors=True)
    assert output.count("accuracy") == 2
    assert output.count("| error: train: the loss is not finite") == 1
    assert "error: sweep: 1 of 3 experiments failed" in output
    listed = [("there", "lr-0.1_seed-0"), ("there", "lr-0.1_seed-1"), ("missing", "lr-1000_seed-0")]
    assert re.findall(r"(there|missing) +(lr-1?0.*seed-\d)", again) == listed
    names = sorted(experiments(hub))
    assert sorted(name.rpartition("_")[0] for name in names) == ["lr-0.1_seed-0", "lr-0.1_seed-1"]
    assert sorted(ran.read_text().splitlines()) in (  # what ran on the lost machine ran twice
        ["0.1 0", "0.1 1", "0.1 1", "1000 0"],
        ["0.1 0", "0.1 1", "1000 0"],
    )
    hub.run("dvc", "exp", "apply", names[0])
    assert hub.run("dvc", "status").strip() == "Data and pipelines are up to date."


@pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed; make setup-cluster")
def test_a_search_that_is_killed_goes_on_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four trials are two rounds here. Three run at once on a GPU, which Ray only believes to be there."""
    hub = Clone.make(tmp_path / "hub")
    (hub.path / "dvc.yaml").write_text(PIPELINE.replace("metrics/test.json", "metrics/train.json"))
    work = WORK.replace("metrics/test.json", "metrics/train.json").replace(
        '"accuracy": lr', '"validation_accuracy": lr'
    )
    (hub.path / "work.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{work}")
    search = hub.path / "tools/sweep/search.py"
    search.write_text(search.read_text().replace("ROUND = 8", "ROUND = 3"))
    hub.commit("search")
    ran = tmp_path / "ran"
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f"#!/bin/sh\ntouch '{tmp_path}/asked'\necho 9000\n")
    smi.chmod(0o755)
    command = ["env", 'RAY_OVERRIDE_RESOURCES={"GPU": 1}', f"PATH={smi.parent}:{os.environ['PATH']}", sys.executable]
    command += ["-m", "tools.sweep", "lr=0.05..0.5:log", "device=auto", "seed=0", "--trials", "4", "--per-gpu", "3"]
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    assert node.free_memory() == [9_437]  # MB of 9,000 MiB
    (tmp_path / "asked").unlink()
    first = hub.start(*command)
    wait_for(lambda: len(experiments(hub)) >= 1 or first.poll() is not None)
    assert first.poll() is None
    assert (tmp_path / "asked").exists()  # whether three have room
    first.kill()
    first.communicate()
    output = hub.run(*command)
    assert re.search(r"3 experiments, [1-3] of them are there already", output)
    assert "sweep: 4 trials, 0 failed; the best by validation_accuracy:" in output
    found = experiments(hub)
    rates = sorted(line.split()[0] for line in ran.read_text().splitlines())
    assert len(found) == 4
    assert len(set(rates)) == 4  # another trial would have another rate
    assert len(rates) <= 6  # one of the three had arrived when the hub was killed
    best = max(map(float, rates))
    assert f"  {best:.4f}  lr={best:g}" in output
    assert "4 experiments" not in output  # in rounds
    assert "3 experiments, 3 of them are there already" in hub.run(*command)
    assert experiments(hub) == found


def experiments(hub: Clone) -> set[str]:
    return {ref.name for ref in experiment_refs(str(hub.path))}  # `dvc exp list` takes a second
