"""Formats the measurements as markdown tables."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

# The tool under test and the lower bound. Neither counts as a peer.
US, YARDSTICK = "tdl", "bare sockets"


@dataclass
class Measured:
    seconds: list[float] = field(default_factory=list)
    peak_kib: int = 0
    # Why there is no time: "failed", "timed out" or "wrong".
    trouble: str = ""

    @property
    def median(self) -> float | None:
        return None if self.trouble or not self.seconds else statistics.median(self.seconds)


# Indexed by the names of workload and tool.
Results = Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True)
class Comparison:
    """Divides the time of `tool` by that of the fastest of the others."""

    head: str
    others: tuple[str, ...]
    tool: str = US

    def of(self, measured: Mapping[str, Measured]) -> tuple[float, str] | None:
        """Returns the ratio and the name of the fastest other."""
        medians = medians_of(measured)
        best = min((name for name in self.others if name in medians), key=lambda name: medians[name], default="")
        return (medians[self.tool] / medians[best], best) if best and self.tool in medians else None

    def cell(self, measured: Mapping[str, Measured]) -> str:
        if not (found := self.of(measured)):
            return ""
        return f"{found[0]:.2f} ({found[1]})" if len(self.others) > 1 else f"{found[0]:.2f}"


def print_times(title: str, tools: list[str], results: Results, comparisons: list[Comparison]) -> None:
    rows = [
        [workload, *(time_cell(measured.get(tool)) for tool in tools), *(one.cell(measured) for one in comparisons)]
        for workload, measured in results.items()
    ]
    print_table(title, ["workload", *tools, *(one.head for one in comparisons)], rows)


def print_ratios(results: Results, comparisons: list[Comparison]) -> None:
    """Prints the geometric mean and the worst of each comparison."""
    rows = []
    for comparison in comparisons:
        found = {workload: one[0] for workload, measured in results.items() if (one := comparison.of(measured))}
        if found:
            worst = max(found, key=lambda workload: found[workload])
            mean = statistics.geometric_mean(found.values())
            rows.append([comparison.head, f"{mean:.2f}", f"{found[worst]:.2f} ({worst})", f"{len(found)}"])
    print_table("Ratios", ["ratio", "geometric mean", "worst", "workloads"], rows)


def print_peaks(title: str, tools: list[str], results: Results) -> None:
    # The system reports only the largest of several processes that run at the same time.
    names = ["one wget of 16" if tool == "xargs wget" else tool for tool in tools]
    rows = [[workload, *(peak_cell(measured.get(tool)) for tool in tools)] for workload, measured in results.items()]
    print_table(title, ["workload", *names], rows)


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    print(f"**{title}**\n")
    for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows):
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def time_cell(measured: Measured | None) -> str:
    if not measured or not measured.median:
        return measured.trouble if measured else ""
    # Three significant digits. The format leaves a trailing point after a whole number.
    return f"{measured.median:#.3g}".rstrip(".")


def peak_cell(measured: Measured | None) -> str:
    return f"{measured.peak_kib / 1024:.0f}" if measured and measured.median else time_cell(measured)


def medians_of(measured: Mapping[str, Measured]) -> dict[str, float]:
    return {name: one.median for name, one in measured.items() if one.median}
