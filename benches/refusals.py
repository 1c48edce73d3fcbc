"""Measures tools against servers that refuse requests, for peers.py."""

import filecmp
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import Bench, Tool, Workload
from runs import KIB, in_turns, say, set_aside, temporary_directory
from tables import Measured, medians_of, print_table, time_cell

CROWDED = Workload("four at once", ((200, 64 * KIB),), "four-at-once")


@dataclass(frozen=True)
class SickList:
    """Healthy files take a second each. The last of `every` files has a URL that is refused."""

    name: str
    title: str
    count: int
    every: int
    way: str

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        return ((self.count, 64 * KIB),)


SICK = (
    SickList("sick", "96 files that take a second each, beside four that always answer 503", 100, 25, "always-503"),
    SickList(
        "sick for a while", "60 files that take a second each, beside six that answer 503 twice", 66, 11, "twice-503"
    ),
)

# Of the tools' defaults only those for a 503 are replaced: curl and aria2 would give up at once.
SICK_TOOLS = (
    Tool("tdl", "", "{tdl} fetch -q -i {list} -o {dir}"),
    Tool("tdl --jobs 16", "", "{tdl} fetch -q --jobs 16 -i {list} -o {dir}"),
    Tool(
        "curl -Z, 16 at once",
        "curl",
        "{program} -Z --parallel-max 16 --parallel-immediate --retry 5 -s -f"
        " --remote-name-all --output-dir {dir} -K {curl_list}",
    ),
    Tool(
        "aria2c -j16",
        "aria2c",
        "{program} -q -j16 --retry-wait=1 --max-tries=6 --file-allocation=falloc -i {list} -d {dir}",
    ),
)


@dataclass
class Landed(Measured):
    """`seconds` until the last healthy file had its final name and content."""

    end: Measured = field(default_factory=Measured)


def measure_crowded(bench: Bench, tdl: Tool) -> None:
    """Measures tdl against a server that refuses requests, alone and with a limit that avoids refusals."""
    with temporary_directory(bench.memory) as place:
        plain = bench.command(tdl, CROWDED, place, sixteen=True)
        commands = {"tdl --jobs 16": plain, "tdl --jobs 16 --per-host 4": [*plain, "--per-host", "4"]}
        results = {name: Measured() for name in commands}
        counts = dict.fromkeys(commands, (0, 0))
        for number in range(bench.rounds + 1):
            for name, command in commands.items():
                bench.turn(CROWDED, name, command, place, results[name], counts=number > 0)
                requests, refused = bench.servers.count()
                if number > 0:
                    counts[name] = counts[name][0] + requests, counts[name][1] + refused
    last = [*commands][-1]
    rows = [
        [name, time_cell(result), f"{counts[name][1]:,} of {counts[name][0]:,}", quotient(result, results[last])]
        for name, result in results.items()
    ]
    title = (
        "Limits under load: 200 x 64 KiB, each after 50 ms, from a server that refuses more than four requests at once"
    )
    print_table(title, ["command", "seconds", f"refused in {bench.rounds} rounds", "to the last"], rows)


def measure_sick(bench: Bench, sick: SickList, tools: list[Tool]) -> None:
    """Measures how long healthy files take with and without URLs beside them that are refused."""
    source = bench.servers.files(sick.sizes)
    healthy = [file for number, file in enumerate(sorted(source.iterdir()), start=1) if number % sick.every]
    healthy_urls = [f"{bench.servers.urls['after-1-s']}/{source.name}/{file.name}" for file in healthy]
    alone = {tool.name: Landed() for tool in tools}
    beside = {tool.name: Landed() for tool in tools}
    with temporary_directory(bench.memory) as place:
        for _, name in in_turns([tool.name for tool in tools], bench.rounds):
            tool = next(tool for tool in tools if tool.name == name)
            lists = bench.servers.write_lists(healthy_urls)
            sick_turn(bench, tool, lists, place, healthy, alone[name])
            lists = bench.servers.lists("after-1-s", sick.sizes, sick.way, sick.every)
            sick_turn(bench, tool, lists, place, healthy, beside[name])
    curl = beside.get("curl -Z, 16 at once")
    rows = [
        [
            name,
            time_cell(alone[name]),
            time_cell(beside[name]),
            quotient(beside[name], alone[name]),
            quotient(beside[name], curl),
            time_cell(beside[name].end),
        ]
        for name in alone
    ]
    heads = ["command", "healthy alone", "beside the sick", "to alone", "to curl", "end of the run"]
    print_table(f"Sick URLs: {sick.title}; seconds until the last healthy file is there", heads, rows)


def sick_turn(
    bench: Bench, tool: Tool, lists: dict[str, Path], place: Path, healthy: list[Path], result: Landed
) -> None:
    bench.servers.count()
    out = place / "out"
    out.mkdir()
    command = bench.words(tool, "", "", {**lists, "dir": out})
    start = time.time()
    run = bench.runner.run(command)
    # A tool fails rightly here, if it has the healthy files.
    trouble = run.trouble if run.trouble == "timed out" else ""
    copies = [out / file.name for file in healthy]
    pairs = zip(healthy, copies, strict=True)
    if not all(copy.is_file() and filecmp.cmp(file, copy, shallow=False) for file, copy in pairs):
        trouble = trouble or "wrong"
    if trouble:
        result.trouble = result.end.trouble = trouble
        say(f"sick: {tool.name}: {trouble}\n{shlex.join(command)}\n{bench.runner.last_output()}")
    else:
        # The time of the last change of a file, which a rename is as well.
        landed = max(copy.stat().st_ctime for copy in copies) - start
        say(f"sick: {tool.name}: {landed:.3f} s, end after {run.seconds:.3f} s")
        result.seconds.append(landed)
        result.end.seconds.append(run.seconds)
    set_aside(out)


def quotient(one: Measured, other: Measured | None) -> str:
    medians = medians_of({"one": one, "other": other or Measured()})
    return f"{medians['one'] / medians['other']:.2f}" if len(medians) == 2 else ""
