"""Measures tdl and other downloaders against local servers on loopback, and prints markdown tables.

    cargo build --release && python3 benches/peers.py > tables.md

Needs Linux, Python 3.11, nginx, openssl, GNU time and rustc; `apt install nginx-light openssl time curl aria2 wget2 wget`
installs the tools. Missing tools are left out. A full run takes half an hour; `--only` selects workloads.

Distributions have old releases of the peers. `--peers DIR`, or the variable PEERS, names a directory with newer ones: curl8,
aria2c-1.37, wget2-2.2. They must be able to read and write below /dev/shm and in `--disk`, also if they run in a chroot.

The tools take turns: a round runs each of them once, in rotating order, into a fresh directory. The files are compared byte
for byte with the server's, outside the measured time. The first round is not counted.
"""

import argparse
import datetime
import shlex
import subprocess
import sys
from pathlib import Path

from bench import SHORT_LIST, Bench, Tool, Workload
from refusals import CROWDED, SICK, SICK_TOOLS, measure_crowded, measure_sick
from runs import (
    GIB,
    KIB,
    MIB,
    REPOSITORY,
    add_common_options,
    check_common_options,
    clean_up_when_stopped,
    find_program,
    machine,
    say,
    temporary_directory,
    version_of,
)
from servers import running_servers
from tables import US, YARDSTICK, Comparison, Measured, peak_cell, print_peaks, print_table, print_times, time_cell

WORKLOADS = (
    Workload("5,000 x 4 KiB", ((5000, 4 * KIB),), on_disk=True),
    Workload("2,000 x 64 KiB", ((2000, 64 * KIB),), on_disk=True),
    Workload("48 x 16 MiB", ((48, 16 * MIB),), on_disk=True),
    Workload("1 x 1 GiB", ((1, GIB),), on_disk=True),
    Workload("TLS, 2,000 x 64 KiB", ((2000, 64 * KIB),), "https"),
    Workload("TLS, 48 x 16 MiB", ((48, 16 * MIB),), "https"),
    Workload("1 x 128 MiB in chunks of 1,000 bytes", ((1, 128 * MIB),), "chunked", with_defaults=False),
    Workload("200 x 64 KiB after 100 ms", ((200, 64 * KIB),), "after-100-ms"),
    # Each response gets 2 MiB/s, so over one connection the large file at the end takes 16 s, whatever the tool's defaults.
    Workload("skewed, throttled", ((36, 512 * KIB), (3, 8 * MIB), (1, 32 * MIB)), "throttled", with_defaults=False),
)
SKEWED = WORKLOADS[-1]
SKEWED_WITH_DEFAULTS = "skewed with defaults"
LONG_LIST = "long list"


# All run quietly, with their own defaults for retries and timeouts.
TOOLS = (
    Tool(US, "", "{tdl} fetch -q {at_once} {insecure} -i {list} -o {dir}", "--jobs 16", "--insecure"),
    Tool(
        "curl -Z",
        "curl",
        "{program} -Z {at_once} -s -f {insecure} --remote-name-all --output-dir {dir} -K {curl_list}",
        "--parallel-max 16 --parallel-immediate",
        "-k",
    ),
    # --min-split-size stays at 20 MiB: a file smaller than twice that uses one connection. By default aria2c writes each
    # file twice, first as zeros; with falloc it reserves the space instead, as tdl does.
    Tool(
        "aria2c",
        "aria2c",
        "{program} -q {at_once} --file-allocation=falloc {insecure} -i {list} -d {dir}",
        "-j16 -x16 -s16",
        "--check-certificate=false",
    ),
    Tool(
        "wget2",
        "wget2",
        "{program} -q {at_once} {insecure} -i {list} -P {dir}",
        "--max-threads=16",
        "--no-check-certificate",
    ),
    Tool(
        "xargs wget",
        "wget",
        "xargs -a {list} {at_once} -n {share} {program} -q {insecure} -P {dir}",
        "-P16",
        "--no-check-certificate",
        has_default=False,
    ),
    Tool(YARDSTICK, "rustc", "{bare_sockets} {list} {dir} {at_once}", "16", has_default=False),
)
# With these options aria2c splits files of more than 2 MiB, and has up to 256 connections to the server.
ARIA2_256 = Tool(
    "aria2c, up to 256",
    "aria2c",
    "{program} -q -j16 -x16 -s16 -k1M --file-allocation=falloc -i {list} -d {dir}",
)


def main() -> None:
    options = arguments()
    clean_up_when_stopped()
    tools = chosen_tools(options)
    workloads = [workload for workload in WORKLOADS if is_chosen(workload.name, options)]
    with temporary_directory(Path("/dev/shm")) as memory, running_servers(memory) as servers:
        bench = Bench(options, memory, servers)
        print_header(options, tools)
        names = [tool.name for tool in tools]
        if workloads:
            results = bench.measure(workloads, tools, memory, sixteen=True)
            print_times("16 at once, into memory: seconds", names, results, comparisons(names))
            print_peaks("16 at once, into memory: peak memory in MiB", names, results)
        on_disk = [workload for workload in workloads if workload.on_disk]
        if on_disk and not options.no_disk:
            with temporary_directory(options.disk) as disk:
                results = bench.measure(on_disk, tools, disk, sixteen=True)
            title = f"16 at once, onto a disk ({file_system(options.disk)}): seconds"
            print_times(title, names, results, comparisons(names))
        with_defaults = [workload for workload in workloads if workload.with_defaults]
        with_default = [tool for tool in tools if tool.has_default]
        if with_defaults and with_default and not options.no_defaults:
            results = bench.measure(with_defaults, with_default, memory, sixteen=False)
            names = [tool.name for tool in with_default]
            print_times("Each with its own defaults, into memory: seconds", names, results, comparisons(names))
        if is_chosen(SKEWED_WITH_DEFAULTS, options) and not options.no_defaults:
            pair = [tool for tool in (TOOLS[0], ARIA2_256) if tool is TOOLS[0] or is_there(tool, options)]
            results = bench.measure([SKEWED], pair, memory, sixteen=False)
            names = [tool.name for tool in pair]
            print_times("tdl with its own defaults, the skewed list: seconds", names, results, comparisons(names))
        if is_chosen(CROWDED.name, options):
            measure_crowded(bench, TOOLS[0])
        for sick in SICK:
            if is_chosen(sick.name, options):
                able = [tool for tool in SICK_TOOLS if not tool.program or is_there(tool, options)]
                measure_sick(bench, sick, able)
        if is_chosen(LONG_LIST, options):
            measure_long_list(bench)


def comparisons(names: list[str]) -> list[Comparison]:
    best = Comparison(f"{US} / best peer", tuple(name for name in names if name not in (US, YARDSTICK)))
    yardstick = Comparison(f"{US} / {YARDSTICK}", (YARDSTICK,))
    return [best, yardstick] if YARDSTICK in names else [best]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = REPOSITORY / "target"
    names = [tool.name for tool in TOOLS]
    add_common_options(parser, rounds=5)
    parser.add_argument("--only", action="append", metavar="TEXT", help="workloads with TEXT in their name; repeatable")
    parser.add_argument("--tools", default=",".join(names), help="with commas (%(default)s)")
    parser.add_argument("--disk", type=Path, default=target, help="a directory on a disk (%(default)s)")
    parser.add_argument("--no-disk", action="store_true", help="leave out the table on a disk")
    parser.add_argument("--no-defaults", action="store_true", help="leave out the table with the tools' defaults")
    options = parser.parse_args()
    check_common_options(parser, options, ("nginx", "openssl", "time", "diff"))
    if unknown := [name for name in options.tools.split(",") if name not in names]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    return options


def chosen_tools(options: argparse.Namespace) -> list[Tool]:
    chosen = [tool for tool in TOOLS if tool.name in options.tools.split(",")]
    return [tool for tool in chosen if not tool.program or is_there(tool, options)]


def is_there(tool: Tool, options: argparse.Namespace) -> bool:
    there = find_program(tool.program, options.peers) is not None
    if not there:
        say(f"{tool.name} is left out: there is no {tool.program}")
    return there


def is_chosen(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(text in name for text in options.only)


def measure_long_list(bench: Bench) -> None:
    path = bench.memory / "long.txt"
    path.write_text("".join(f"https://example.org/files/{number:06}.bin\n" for number in range(100_000)))
    result = Measured()
    for _ in range(bench.rounds):
        run = bench.runner.run([str(bench.programs["tdl"]), "fetch", "--dry-run", "-q", "-i", str(path)])
        result.seconds.append(run.seconds)
        result.peak_kib = max(result.peak_kib, run.peak_kib)
        result.trouble = result.trouble or run.trouble
    row = ["tdl fetch --dry-run -q -i LIST", time_cell(result), peak_cell(result)]
    print_table("Long list: 100,000 URLs", ["command", "seconds", "peak MiB"], [row])


def print_header(options: argparse.Namespace, tools: list[Tool]) -> None:
    print(f"- {datetime.date.today()}, {machine()}")
    programs = {tool.program: find_program(tool.program, options.peers) for tool in tools if tool.program}
    versions = [version_of(str(options.tdl.resolve()), "tdl")] if TOOLS[0] in tools else []
    versions += [version_of(path, name) for name, path in programs.items() if path]
    versions.append(version_of("nginx", "nginx", "-v"))
    print(f"- {', '.join(versions)}, Python {sys.version.split()[0]}")
    print(f"- `{shlex.join(['python3', *sys.argv])}`")
    print(
        f"- medians of {options.rounds} rounds; the servers use the same cores; a ratio below 1 means that tdl took less"
    )
    print(
        f"- SHARE is a sixteenth of a list of more than {SHORT_LIST} URLs, else 1; over TLS, no tool checks certificates\n"
    )
    print("```sh")
    for tool in tools:
        command = tool.command.replace("{at_once}", tool.sixteen).replace("{insecure} ", "")
        values = {"list": "LIST", "curl_list": "CURL_LIST", "dir": "DIR", "share": "SHARE", "program": tool.program}
        print(command.format(**values, tdl="tdl", bare_sockets="bare_sockets"))
    print("```\n", flush=True)


def file_system(directory: Path) -> str:
    command = ["df", "--output=fstype", directory]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
