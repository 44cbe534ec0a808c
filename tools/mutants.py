"""make mutants: put faults into src and stages, one at a time, and print each that no test sees.

The faults are cosmic-ray's: COUNT in each module, drawn from SEED. For each, the tests in the files that import the
module run in a fork of this process, which has imported PyTorch. Tests of another copy of the code are left out.
"""

import inspect
import os
import re
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from cifar10.core.errors import UserError
from tools.repository import copy_working_tree, git
from tools.start import run_tool

LIMIT = 300  # seconds for the tests of a module, which take up to 40; a mutant that takes longer is seen
OTHER_COPY = re.compile(r"clone\.(run|start)\(|Clone\.make")  # in the code of a test
LIBRARIES = ("torch._dynamo", "torchvision", "albumentations", "sklearn.datasets", "matplotlib.figure", "onnxruntime")


def main() -> None:
    count, seed, *names = sys.argv[1:]
    modules = [Path(name) for name in names] or python_files("src", "stages")
    sys.dont_write_bytecode = True  # it would belong to the mutant before
    with TemporaryDirectory(prefix="mutants-") as folder:
        copy_working_tree(Path(folder, "code"))
        os.chdir(Path(folder, "code"))
        git("add", "-A")
        git("-c", "user.name=x", "-c", "user.email=x@example.invalid", "commit", "-qm", "what the tests call committed")
        # Like a process of xdist, each fork finds the clone that the first one has made.
        os.environ |= {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": folder, "PYTEST_XDIST_WORKER": "gw0"}
        for name in LIBRARIES:
            import_module(name)
        tests, results = {path: tests_of(path) for path in modules}, []
        if failed(sorted(set[str]().union(*tests.values()))):
            raise UserError(f"a test fails without a mutant: {Path('../log').read_text(encoding='utf-8')[-1000:]}")
        for path in modules:
            code = path.read_text(encoding="utf-8")
            for mutant in mutants(code, int(count), Random(f"{seed} {path}")):
                path.write_text(mutant, encoding="utf-8")
                results.append(failed(tests[path]))
                change = git("diff", "-U0", str(path)).rpartition("@@")[2].partition("\n")[2]
                print(f"{path}: {'seen' if results[-1] else 'NOT SEEN'}\n{change}", flush=True)
            path.write_text(code, encoding="utf-8")
        print(f"{sum(results)} of {len(results)} mutants were seen")
        os.chdir("/")  # out of the folder that is deleted


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py"))


def mutants(code: str, count: int, random: Random) -> list[str]:
    """Return up to `count` faulty forms of `code`, each with one fault, no two in the same place."""
    tree, places = get_ast(code), defaultdict[Any, list[Any]](list)
    for name in operator_names():
        operator = get_operator(name)
        if "BitOr" in name or operator.arguments():  # mostly in types; with arguments it must be configured
            continue
        positions = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, place in enumerate(positions):
            places[place].append((operator(), occurrence))
    chosen = random.sample(sorted(places), min(count, len(places)))
    found = []
    for place in chosen:
        with suppress(AttributeError):  # of cosmic-ray 8.7, for `except package.Error`
            found.append(mutate_code(code, *random.choice(places[place])))
    return found


def tests_of(path: Path) -> list[str]:
    """Return the test files named like the module or importing it, or else those of its importers, short ones first."""
    module = re.sub(r"^src\.|\.__(init|main)__$", "", ".".join(path.with_suffix("").parts))
    importing = re.compile(rf"^ *(from|import) {module}\b", re.MULTILINE)
    texts = {other: other.read_text(encoding="utf-8") for other in python_files("src", "stages", "tests")}
    naming = [other for other, text in texts.items() if importing.search(text) and "\nfrom tools" not in text]
    of_its_name = Path("tests").glob(f"test_{path.stem}.py")
    tests = {str(other) for other in (*naming, *of_its_name) if other.match("tests/test_*")}
    through = [other for other in naming if str(other) not in tests and (not tests or other.parts[0] == "tests")]
    return sorted(tests.union(*map(tests_of, through)), key=lambda name: Path(name).stat().st_size)


def failed(tests: list[str]) -> bool:
    """Return whether one of the tests fails, or they do not end."""
    process, ended, status, give_up = os.fork(), 0, 0, time.monotonic() + LIMIT
    if not process:
        try:
            run_tests(tests)
        finally:
            os._exit(3)
    try:
        while not ended and time.monotonic() < give_up:
            time.sleep(0.02)
            ended, status = os.waitpid(process, os.WNOHANG)
    finally:
        for other in psutil.process_iter():  # also what it has left running
            with suppress(OSError):
                if os.getsid(other.pid) == process:
                    os.kill(other.pid, signal.SIGKILL)
    return not ended or status != 0


def run_tests(tests: list[str]) -> None:
    def leave_out(items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not OTHER_COPY.search(inspect.getsource(item.function))]  # type: ignore[attr-defined]

    os.setsid()
    with Path("../log").open("w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    for name in [name for name in sys.modules if re.match(r"(cifar10|stages|tests|tools)\b", name)]:
        del sys.modules[name]  # those of this process are not the copy's
    plugin = SimpleNamespace(pytest_collection_modifyitems=leave_out)
    os._exit(pytest.main(["-x", "-n", "0", "--basetemp", "../own", *tests], [plugin]))


if __name__ == "__main__":
    run_tool("mutants", main)
