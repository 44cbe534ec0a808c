"""Leave out runs that cannot be compared, because their data, code or type of machine differ, and keep each once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from cifar10.core.errors import UserError
from tools.compare.runs import PROCESSOR, Run
from tools.compare.settings import varied
from tools.records import removal


def of_one_kind(runs: Sequence[Run], base_name: str | None) -> tuple[list[Run], list[str]]:
    """Return the runs of the base's kind, or else of the most frequent kind, and notes on the runs left out."""
    kept, left_out = list(runs), defaultdict[str, list[str]](list)
    for what in dict.fromkeys(what for run in runs for what in run.kind):
        having = {run.name: run.kind[what] for run in kept if what in run.kind}
        kinds = list(having.values())
        most = having.get(base_name or "") or max(kinds, key=kinds.count, default={})
        for name, kind in having.items():
            if differ := [key for key in {**most, **kind} if kind.get(key) != most.get(key)]:
                said = ", ".join(differ)
                if what == "machine":
                    said = ", ".join(f"{key} {kind[key]}" for key in differ)
                    said += f", not {', '.join(str(most[key]) for key in differ)}"
                left_out[f"{'other' if 'data' in what else 'another'} {what}: {said}"].append(name)
        out = [name for names in left_out.values() for name in names]
        kept = [run for run in kept if run.name not in out]
    return kept, [f"{few(names)} left out, because of {why}" for why, names in left_out.items()]


def distinct(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Return each run once, and of two with one network the evaluated one.

    Raise UserError if two runs of one setting and seed have different networks.
    """
    kept, notes, faults = dict[Any, Run](), list[str](), list[str]()
    for run in runs:
        key = frozenset(varied(run.params).items()), run.params["seed"]
        first = kept.setdefault(key, run)
        if first.model != run.model:
            pairs = zip(PROCESSOR, first.speed, run.speed, strict=True)
            why = ", ".join(f"{what} {one} and {other}" for what, one, other in pairs if one != other)
            faults.append(
                f"{first.name} and {run.name} have the same parameters and seed, but another network"
                f"{f' ({why})' * bool(why)}; leave one out: EXPERIMENTS='...', or {removal(first.name)}"
            )
        elif first is not run:
            notes.append(f"{run.name} is the same run as {first.name}")
            if len(run.numbers) > len(first.numbers):
                kept[key] = run
    if faults:
        raise UserError("\n".join(faults))
    return list(kept.values()), notes


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
