"""Formats the measurements as markdown tables."""

import statistics
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
Results = dict[str, dict[str, Measured]]


def print_times(title: str, tools: list[str], results: Results) -> None:
    heads = ["workload", *tools, f"{US} / best peer"]
    rows = []
    for workload, measured in results.items():
        medians = {tool: one.median for tool, one in measured.items() if one.median}
        peers = [tool for tool in medians if tool not in (US, YARDSTICK)]
        best = min(peers, key=lambda tool: medians[tool], default="")
        row = [workload, *(time_cell(measured.get(tool)) for tool in tools)]
        row.append(f"{ratio(medians, US, best)} ({best})" if best and US in medians else "")
        row.append(ratio(medians, US, YARDSTICK))
        rows.append(row)
    if YARDSTICK in tools:
        heads.append(f"{US} / {YARDSTICK}")
    print_table(title, heads, [row[: len(heads)] for row in rows])


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


def ratio(medians: dict[str, float], one: str, other: str) -> str:
    return f"{medians[one] / medians[other]:.2f}" if one in medians and other in medians else ""
