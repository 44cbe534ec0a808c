"""make mutants: put faults into src and stages, one at a time, and see whether a test fails.

The faults are cosmic-ray's: COUNT in each module, drawn from SEED. For each, the test files that name the module run in
a fork of this process, which spares them the imports; tests that start DVC or a clone are left out. What is printed is
each fault that no test has seen.
"""

import argparse
import inspect
import os
import re
import signal
import sys
from collections import defaultdict
from contextlib import suppress
from difflib import ndiff
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from cifar10.core.errors import UserError
from tools.repository import copy_working_tree, git
from tools.start import run_tool

OURS = ("cifar10", "stages", "tests", "tools")
LIMIT = 300  # seconds for the tests of a mutant, which take up to 40
FORKED = ("torch._dynamo", "torchvision", "albumentations", "sklearn.datasets", "matplotlib.figure", "onnxruntime")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--count", type=int, default=2, help="mutants of each module (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("modules", nargs="*", help="only these files")
    wanted = parser.parse_args()
    files = [Path(name) for name in wanted.modules] or sorted([*Path("src").rglob("*.py"), *Path("stages").rglob("*.py")])
    with TemporaryDirectory(prefix="mutants-") as folder:
        os.environ |= {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": folder, "PYTEST_XDIST_WORKER": "x", "MUTANTS": folder}
        sys.dont_write_bytecode = True
        copy_working_tree(Path(folder, "code"))
        os.chdir(Path(folder, "code"))
        git("add", "-A"), git("-c", "user.name=x", "-c", "user.email=x@example.invalid", "commit", "-qm", "as it is")
        for name in FORKED:
            import_module(name)
        tests = {file: tests_of(file) for file in files}
        if failed(sorted({test for each in tests.values() for test in each})):
            raise UserError("the tests fail without a mutant:\n" + Path(folder, "log").read_text(encoding="utf-8")[-3000:])
        killed, survivors = 0, 0
        for file in files:
            code, seen = file.read_text(encoding="utf-8"), []
            for mutant in mutants(code, wanted.count, Random(f"{wanted.seed} {file}")):
                file.write_text(mutant, encoding="utf-8")
                seen.append(failed(tests[file]))
                if not seen[-1]:
                    changes = [line for line in ndiff(code.splitlines(), mutant.splitlines()) if line[0] in "-+"]
                    print(f"{file}:", *changes, sep="\n    ", flush=True)
            file.write_text(code, encoding="utf-8")
            killed, survivors = killed + sum(seen), survivors + len(seen) - sum(seen)
            print(f"{file}: {sum(seen)} of {len(seen)} seen", flush=True)
    print(f"{killed} of {killed + survivors} mutants were seen by the tests")


def mutants(code: str, count: int, random: Random) -> list[str]:
    """Up to `count` faulty forms of `code`, each with one fault, no two in the same place."""
    tree, places = get_ast(code), defaultdict[Any, list[Any]](list)
    for name in operator_names():
        operator = get_operator(name)
        if "BitOr" in name or operator.arguments():  # BitOr: mostly types; with arguments: must be configured
            continue
        positions = [place for node in ast_nodes(tree) for place in operator().mutation_positions(node)]
        for occurrence, place in enumerate(positions):
            places[place].append((operator(), occurrence))
    chosen = random.sample(sorted(places), min(count, len(places)))
    return [mutate_code(code, *random.choice(places[place])) for place in chosen]


def tests_of(file: Path) -> list[str]:
    """The test files that import the module, themselves or through another test module; if none, those of its importers."""
    module = ".".join(file.with_suffix("").parts).removeprefix("src.").removesuffix(".__init__")
    files = [path for folder in ("src", "stages", "tests") for path in Path(folder).rglob("*.py") if path != file]
    naming = [path for path in files if re.search(rf"\n\s*(?:from|import) {module}\b", path.read_text(encoding="utf-8"))]
    tests = {str(path) for path in naming if path.match("tests/test_*.py")}
    others = [path for path in naming if str(path) not in tests and (not tests or path.parts[0] == "tests")]
    return sorted(tests.union(*map(tests_of, others)), key=lambda name: Path(name).stat().st_size)


def failed(tests: list[str]) -> bool:
    """Whether one of these tests fails, or does not end."""
    process = get_context("fork").Process(target=run, args=(tests,))
    process.start()
    try:
        process.join(LIMIT)
    finally:  # also what it has started
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
    return process.exitcode != 0


class Quick:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out tests whose clone or process has another copy of the code; the files in the order given."""
        items[:] = [item for item in items if not re.search(r"clone\.run|clone\.start|Clone\.make|forked\(|forks", inspect.getsource(item.function))]


def run(tests: list[str]) -> None:
    os.setsid()
    output = os.open(os.environ["MUTANTS"] + "/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1), os.dup2(output, 2)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    os._exit(pytest.main(["-x", "-n", "0", "--basetemp", os.environ["MUTANTS"] + "/own", *tests], [Quick()]))


if __name__ == "__main__":
    run_tool("mutants", main)
