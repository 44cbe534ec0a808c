"""How a tool ends: without a traceback where its caller, the disk or another program is at fault."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGPIPE, SIGTERM

import pytest

from tests.clone import ROOT

WITH_A_FOLDER = """with tempfile.TemporaryDirectory(dir=".") as folder:
        print("started", flush=True)
        time.sleep(600)"""


def tool(folder: Path, body: str, wrapper: str = "", first: str = "") -> "subprocess.Popen[str]":
    """A tool with this body, in a process of its own, as `python -m` starts it."""
    code = f"import sys; sys.argv[0] = '-m'; import tools\n{first}\nimport os, subprocess, tempfile, time\n"
    code += f"from tools.start import run_tool\ndef main():\n    {body}\n"
    command = [*shlex.split(wrapper), sys.executable, "-c", f"{code}run_tool('name', main)"]
    env, pipe = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/src"}, subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("number", [SIGTERM, SIGHUP])
def test_a_signal_leaves_no_folder(tmp_path: Path, number: int) -> None:
    process = tool(tmp_path, WITH_A_FOLDER)
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    assert process.communicate() == ("", "")
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_imports_and_the_work_without_a_traceback(tmp_path: Path) -> None:
    press = f"import os; os.kill(os.getpid(), {SIGINT:d})"
    for process, code in ((tool(tmp_path, "pass", first=press), -SIGINT), (tool(tmp_path, press), 130)):
        assert process.communicate() == ("", "")
        assert process.returncode == code


def test_a_lost_terminal_does_not_end_what_nohup_started(tmp_path: Path) -> None:
    process = tool(tmp_path, WITH_A_FOLDER.replace("600", "1"), "nohup")
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    process.send_signal(SIGHUP)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("subprocess.run(['no such program'])", "[Errno 2] No such file or directory: 'no such program'"),
        ("subprocess.run(['false'], check=True)", "Command '['false']' returned non-zero exit status 1."),
        ("raise OSError(28, 'No space left on device', 'a')", "[Errno 28] No space left on device: 'a'"),
    ],
)
def test_what_the_system_says_is_one_line(tmp_path: Path, body: str, said: str) -> None:
    process = tool(tmp_path, body)
    assert process.communicate() == ("", f"error: name: {said}\n")
    assert process.returncode == 1


def test_standard_output_may_be_full_or_closed(tmp_path: Path) -> None:
    for redirection, said, code in (
        (">/dev/full", "error: name: [Errno 28] No space left on device\n", 1),
        (">&-", "", 0),
    ):
        process = tool(tmp_path, "print('x')", f"sh -c 'exec \"$@\" {redirection}' sh")
        assert process.communicate()[1] == said
        assert process.returncode == code


def test_a_listing_may_be_cut_off(tmp_path: Path) -> None:
    process = tool(tmp_path, "print('x' * 1_000_000)")
    assert process.stdout
    process.stdout.close()
    assert process.communicate()[1] == ""
    assert process.returncode == 128 + SIGPIPE
