"""Check that runs may be compared, which must be of one kind of data, code and machine, and keep each once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from cifar10.core.errors import UserError
from tools.compare.runs import SPEED, Run


def one_kind(runs: Sequence[Run]) -> None:
    """Raise UserError, with what differs in which, if data, code or the type of machine is not the same in all runs."""
    faults = []
    for what in dict.fromkeys(what for run in runs for what in run.kind):
        having = [run for run in runs if what in run.kind]
        split = defaultdict[tuple[tuple[str, ...], ...], list[str]](list)  # groups of names: what splits them so
        for key in dict.fromkeys(key for run in having for key in run.kind[what]):
            groups = defaultdict[Any, list[str]](list)
            for run in having:
                groups[run.kind[what].get(key)].append(run.name)
            if len(groups) > 1 and what == "machine":
                faults.append(f"{key} is " + ", but ".join(f"{value} in {few(of)}" for value, of in groups.items()))
            elif len(groups) > 1:
                split[tuple(map(tuple, groups.values()))].append(key)
        for names, keys in split.items():
            more = f" (versions in all: {len(names)})" if len(names) > 2 else ""
            differ = f"the {what} in {few(names[0])} is not the same as in {few(names[1])}"
            faults.append(f"{differ}{more}: {', '.join(keys)}")
    if faults:
        raise UserError("\n".join([*faults, _advice(runs)]))


def distinct(runs: Iterable[Run], key: Callable[[Run], Hashable]) -> tuple[list[Run], list[str]]:
    """Return each run once, and of two with one network the evaluated one. `key` gives the setting and seed of a run.

    Raise UserError if two runs of one setting and seed have different networks.
    """
    kept, notes, faults = dict[Any, Run](), list[str](), list[str]()
    for run in runs:
        first = kept.setdefault(key(run), run)
        if first.model != run.model:
            pairs = zip(SPEED, first.speed, run.speed, strict=True)
            why = ", ".join(f"{what} {one} and {other}" for what, one, other in pairs if one != other)
            faults.append(
                f"{first.name} and {run.name} have the same parameters and seed, but another network"
                f"{f' ({why})' * bool(why)}; leave one out: EXPERIMENTS='...', or dvc exp remove {first.name}"
            )
        elif first is not run:
            notes.append(f"{run.name} is the same run as {first.name}")
            if len(run.numbers) > len(first.numbers):
                kept[key(run)] = run
    if faults:
        raise UserError("\n".join(faults))
    return list(kept.values()), notes


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _advice(runs: Sequence[Run]) -> str:
    alike = list(runs)
    for what in dict.fromkeys(what for run in runs for what in run.kind):
        (most, _), *_ = Counter(_text(run, what) for run in alike if what in run.kind).most_common(1)
        alike = [run for run in alike if what not in run.kind or _text(run, what) == most]
    names = " ".join(run.name for run in alike)
    if len(names) > 400:
        names = "..."
    return f"compare runs of one kind: EXPERIMENTS='{names}' (names, * for any letters), or remove some: dvc exp remove"


def _text(run: Run, what: str) -> str:
    return str(sorted(run.kind[what].items()))
