"""What wan.py measures, as tables and as JSON."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tables import US, Comparison, Measured, print_peaks, print_ratios, print_table, print_times, time_cell
from wan_link import Carried


@dataclass
class Transferred(Measured):
    wanted: int = 0
    carried: list[Carried] = field(default_factory=list)
    # Bytes of the heads of responses.
    heads: list[int] = field(default_factory=list)

    @property
    def on_link(self) -> list[float]:
        return [one.bytes / self.wanted for one in self.carried]

    @property
    def body(self) -> list[float]:
        return [
            (one.acknowledged + one.after_close - heads) / self.wanted
            for one, heads in zip(self.carried, self.heads, strict=True)
        ]

    @property
    def after_close(self) -> list[float]:
        return [one.after_close / self.wanted for one in self.carried]


# Indexed by the names of workload and tool.
Transfers = dict[str, dict[str, Transferred]]


def print_results(names: list[str], results: Transfers, comparisons: list[Comparison]) -> None:
    print_times("Seconds", names, results, comparisons)
    print_ratios(results, comparisons)
    print_table("Bytes on the link over bytes wanted", ["workload", *names], share_rows(names, results, on_link_cell))
    title = "Bytes of bodies over bytes wanted, with those that arrived at a closed connection in brackets"
    print_table(title, ["workload", *names], share_rows(names, results, body_cell))
    if ours := [name for name in names if name.startswith(US)]:
        print_peaks("Peak memory in MiB", ours, results)


def share_rows(names: list[str], results: Transfers, cell: Callable[[Transferred], str]) -> list[list[str]]:
    return [
        [workload, *(cell(one) if (one := measured.get(name)) and one.median else time_cell(one) for name in names)]
        for workload, measured in results.items()
    ]


def on_link_cell(one: Transferred) -> str:
    return f"{statistics.median(one.on_link):.3f}"


def body_cell(one: Transferred) -> str:
    thrown_away = statistics.median(one.after_close)
    return f"{statistics.median(one.body):.3f}" + (f" ({thrown_away:.3f})" if thrown_away >= 0.0005 else "")


def write_json(file: Path, context: dict[str, object], results: Transfers) -> None:
    rows = [
        {
            "workload": workload,
            "tool": name,
            "trouble": one.trouble,
            "median": one.median,
            "seconds": one.seconds,
            "peak_kib": one.peak_kib,
            "wanted": one.wanted,
            "on_link": one.on_link,
            "body": one.body,
            "after_close": one.after_close,
            "carried": [vars(carried) for carried in one.carried],
        }
        for workload, measured in results.items()
        for name, one in measured.items()
    ]
    file.write_text(json.dumps({**context, "results": rows}, indent=1) + "\n")
