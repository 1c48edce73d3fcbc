"""Measures tdl and other downloaders against local servers on loopback, and prints markdown tables.

    cargo build --release && python3 benches/peers.py > tables.md

Needs Linux, Python 3.11, nginx, openssl, GNU time and rustc; `apt install nginx-light openssl time curl aria2 wget2 wget`
installs the tools. Missing tools are left out. A full run takes half an hour; `--only` selects workloads.

The tools take turns: a round runs each of them once, in rotating order, into a fresh directory. The files are compared byte
for byte with the server's, outside the measured time. The first round is not counted.
"""

import argparse
import datetime
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import Servers, Sizes, running_servers
from tables import US, YARDSTICK, Measured, Results, peak_cell, print_peaks, print_table, print_times, ratio, time_cell

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class Workload:
    name: str
    sizes: Sizes
    # `http` and `https` are nginx; slow_server.py describes the others.
    server: str = "http"
    on_disk: bool = False
    with_defaults: bool = True


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
CROWDED = Workload("four at once", ((200, 64 * KIB),), "four-at-once")
LONG_LIST = "long list"


@dataclass(frozen=True)
class Tool:
    name: str
    # The program it needs.
    program: str
    # `sixteen` replaces {at_once}, except when defaults are measured; `insecure` replaces {insecure} over TLS.
    command: str
    sixteen: str
    insecure: str = ""
    has_default: bool = True


# All run quietly, with their own defaults for retries and timeouts.
# {share} is how many URLs each wget gets: a sixteenth of a long list, so that it can reuse its connection, but one of a short
# list, where a large file would delay the others in its share.
TOOLS = (
    Tool(US, "", "{tdl} fetch -q {at_once} {insecure} -i {list} -o {dir}", "--jobs 16", "--insecure"),
    Tool(
        "curl -Z",
        "curl",
        "curl -Z {at_once} -s -f {insecure} --remote-name-all --output-dir {dir} -K {curl_list}",
        "--parallel-max 16 --parallel-immediate",
        "-k",
    ),
    # --min-split-size stays at 20 MiB: a file smaller than twice that uses one connection. By default aria2c writes each
    # file twice, first as zeros; with falloc it reserves the space instead, as tdl does.
    Tool(
        "aria2c",
        "aria2c",
        "aria2c -q {at_once} --file-allocation=falloc {insecure} -i {list} -d {dir}",
        "-j16 -x16 -s16",
        "--check-certificate=false",
    ),
    Tool(
        "wget2",
        "wget2",
        "wget2 -q {at_once} {insecure} -i {list} -P {dir}",
        "--max-threads=16",
        "--no-check-certificate",
    ),
    Tool(
        "xargs wget",
        "wget",
        "xargs -a {list} {at_once} -n {share} wget -q {insecure} -P {dir}",
        "-P16",
        "--no-check-certificate",
        has_default=False,
    ),
    Tool(YARDSTICK, "rustc", "{bare_sockets} {list} {dir} {at_once}", "16", has_default=False),
)
SHORT_LIST = 100

TIMEOUT_SECONDS = 120
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    options = arguments()
    # Both signals unwind and clean up, even if a shell made a background job ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools = chosen_tools(options)
    workloads = [workload for workload in WORKLOADS if is_chosen(workload.name, options)]
    with temporary_directory(Path("/dev/shm")) as memory, running_servers(memory) as servers:
        bench = Bench(options, memory, servers)
        print_header(options, tools)
        names = [tool.name for tool in tools]
        if workloads:
            results = bench.measure(workloads, tools, memory, sixteen=True)
            print_times("16 at once, into memory: seconds", names, results)
            print_peaks("16 at once, into memory: peak memory in MiB", names, results)
        on_disk = [workload for workload in workloads if workload.on_disk]
        if on_disk and not options.no_disk:
            with temporary_directory(options.disk) as disk:
                results = bench.measure(on_disk, tools, disk, sixteen=True)
            print_times(f"16 at once, onto a disk ({file_system(options.disk)}): seconds", names, results)
        with_defaults = [workload for workload in workloads if workload.with_defaults]
        tools = [tool for tool in tools if tool.has_default]
        if with_defaults and tools and not options.no_defaults:
            results = bench.measure(with_defaults, tools, memory, sixteen=False)
            print_times("Each with its own defaults, into memory: seconds", [tool.name for tool in tools], results)
        if is_chosen(CROWDED.name, options):
            measure_crowded(bench)
        if is_chosen(LONG_LIST, options):
            measure_long_list(bench)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = REPOSITORY / "target"
    names = [tool.name for tool in TOOLS]
    parser.add_argument("--tdl", type=Path, default=target / "release/tdl", help="the tdl to measure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (%(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="workloads with TEXT in their name; repeatable")
    parser.add_argument("--tools", default=",".join(names), help="with commas (%(default)s)")
    parser.add_argument("--disk", type=Path, default=target, help="a directory on a disk (%(default)s)")
    parser.add_argument("--no-disk", action="store_true", help="leave out the table on a disk")
    parser.add_argument("--no-defaults", action="store_true", help="leave out the table with the tools' defaults")
    options = parser.parse_args()
    if not options.tdl.is_file():
        parser.error(f"there is no {options.tdl}: build it (cargo build --release), or name another with --tdl")
    if unknown := [name for name in options.tools.split(",") if name not in names]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    if missing := [name for name in ("nginx", "openssl", "time", "diff") if not shutil.which(name)]:
        parser.error(f"missing: {', '.join(missing)}")
    return options


def chosen_tools(options: argparse.Namespace) -> list[Tool]:
    chosen = [tool for tool in TOOLS if tool.name in options.tools.split(",")]
    missing = [tool for tool in chosen if tool.program and not shutil.which(tool.program)]
    for tool in missing:
        say(f"{tool.name} is left out: there is no {tool.program}")
    return [tool for tool in chosen if tool not in missing]


def is_chosen(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(text in name for text in options.only)


class Bench:
    def __init__(self, options: argparse.Namespace, memory: Path, servers: Servers) -> None:
        self.rounds = options.rounds
        self.memory = memory
        self.servers = servers
        self.programs = {"tdl": options.tdl.resolve(), "bare_sockets": memory / "bare_sockets"}
        self.log = memory / "log"
        self.home = memory / "home"
        self.home.mkdir()
        if shutil.which("rustc"):
            source = REPOSITORY / "benches/bare_sockets.rs"
            compile_it = ["rustc", "-O", "--edition", "2024", "-o", self.programs["bare_sockets"], source]
            subprocess.run(compile_it, check=True)

    def measure(self, workloads: list[Workload], tools: list[Tool], parent: Path, sixteen: bool) -> Results:
        results = {}
        with temporary_directory(parent) as place:
            for workload in workloads:
                # The bare sockets use Rust's standard library, which has no TLS.
                able = [tool for tool in tools if workload.server != "https" or tool.name != YARDSTICK]
                commands = {tool.name: self.command(tool, workload, place, sixteen) for tool in able}
                results[workload.name] = self.take_turns(workload, commands, place) if commands else {}
        return results

    def take_turns(self, workload: Workload, commands: dict[str, list[str]], place: Path) -> dict[str, Measured]:
        results = {name: Measured() for name in commands}
        names = list(commands)
        for number in range(self.rounds + 1):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                # A tool that failed once is not run again.
                if not results[name].trouble:
                    self.turn(workload, name, commands[name], place, results[name], counts=number > 0)
        return results

    def turn(
        self, workload: Workload, name: str, command: list[str], place: Path, result: Measured, counts: bool
    ) -> None:
        out = place / "out"
        out.mkdir()
        # Data that an earlier run left to be written to disk must not slow this one.
        os.sync()
        seconds, peak_kib, trouble = self.run(command)
        if not trouble and not is_same(self.servers.files(workload.sizes), out):
            trouble = "wrong"
        set_aside(out)
        say(f"{workload.name}: {name}: {trouble or f'{seconds:.3f} s, {peak_kib / KIB:.1f} MiB'}")
        if trouble:
            say(f"{shlex.join(command)}\n{self.log.read_text(errors='replace')[-2000:]}")
            result.trouble = trouble
        elif counts:
            result.seconds.append(seconds)
            result.peak_kib = max(result.peak_kib, peak_kib)

    def run(self, command: list[str]) -> tuple[float, int, str]:
        """Returns seconds, peak memory in KiB, and what went wrong."""
        # A process inherits the peak memory of its parent, and Python's is larger than that of some tools. So GNU time,
        # which is small, starts them.
        peak = self.memory / "peak"
        with self.log.open("wb") as log:
            start = time.perf_counter()
            child = subprocess.Popen(
                ["time", "--quiet", "--format=%M", f"--output={peak}", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # No proxies and no user settings.
                env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
                start_new_session=True,
            )
            try:
                in_time = ends_in_time(child)
                seconds = time.perf_counter() - start
            finally:
                end_group(child)
        if not in_time:
            return seconds, 0, "timed out"
        return seconds, int(peak.read_text()), "failed" if child.returncode else ""

    def command(self, tool: Tool, workload: Workload, place: Path, sixteen: bool) -> list[str]:
        files = sum(count for count, _ in workload.sizes)
        values = {
            **self.programs,
            **self.servers.lists(workload.server, workload.sizes),
            "dir": place / "out",
            "share": 1 if files <= SHORT_LIST else -(-files // 16),
        }
        command = tool.command.replace("{at_once}", tool.sixteen if sixteen else "")
        command = command.replace("{insecure}", tool.insecure if workload.server == "https" else "")
        return [word.format(**values) for word in command.split()]


def ends_in_time(child: subprocess.Popen[bytes]) -> bool:
    """Returns as soon as the child ends. Popen.wait with a timeout polls only now and then."""
    ended = os.pidfd_open(child.pid)
    try:
        return bool(select.select([ended], [], [], TIMEOUT_SECONDS)[0])
    finally:
        os.close(ended)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kills what remains of a child that was too slow or interrupted, including its own children."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def is_same(source: Path, copy: Path) -> bool:
    """Whether two directories have files with the same names and bytes, and no others."""
    command = ["diff", "-rq", "--no-dereference", source, copy]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def set_aside(out: Path) -> None:
    """Truncates the files, which are removed after the last run.

    ext4 without a journal scans each inode freed in the last minutes before it allocates one for a new file, so a run would
    pay for the files of the run before it. On such a file system, wait a few minutes after anything that removes many files.
    """
    for file in out.iterdir():
        os.truncate(file, 0)
    out.rename(tempfile.mkdtemp(dir=out.parent))


def measure_crowded(bench: Bench) -> None:
    """Measures tdl against a server that refuses requests, alone and with a limit that avoids refusals."""
    tdl = TOOLS[0]
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
    medians = {name: result.median for name, result in results.items() if result.median}
    rows = [
        [name, time_cell(result), f"{counts[name][1]:,} of {counts[name][0]:,}", ratio(medians, name, [*commands][-1])]
        for name, result in results.items()
    ]
    title = (
        "Limits under load: 200 x 64 KiB, each after 50 ms, from a server that refuses more than four requests at once"
    )
    print_table(title, ["command", "seconds", f"refused in {bench.rounds} rounds", "to the last"], rows)


def measure_long_list(bench: Bench) -> None:
    path = bench.memory / "long.txt"
    path.write_text("".join(f"https://example.org/files/{number:06}.bin\n" for number in range(100_000)))
    result = Measured()
    for _ in range(bench.rounds):
        seconds, peak_kib, trouble = bench.run(
            [str(bench.programs["tdl"]), "fetch", "--dry-run", "-q", "-i", str(path)]
        )
        result.seconds.append(seconds)
        result.peak_kib = max(result.peak_kib, peak_kib)
        result.trouble = result.trouble or trouble
    row = ["tdl fetch --dry-run -q -i LIST", time_cell(result), peak_cell(result)]
    print_table("Long list: 100,000 URLs", ["command", "seconds", "peak MiB"], [row])


def print_header(options: argparse.Namespace, tools: list[Tool]) -> None:
    model = value_of("/proc/cpuinfo", "model name")
    memory = int(value_of("/proc/meminfo", "MemTotal").split()[0]) * KIB / GIB
    system = f"Linux {os.uname().release}"
    print(f"- {datetime.date.today()}, {model}, {os.cpu_count()} cores, {memory:.1f} GiB of memory, {system}")
    programs = [tool.program or str(options.tdl) for tool in tools]
    versions = [version_of(program, "--version") for program in programs] + [version_of("nginx", "-v")]
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
        values = {"list": "LIST", "curl_list": "CURL_LIST", "dir": "DIR", "share": "SHARE"}
        print(command.format(**values, tdl="tdl", bare_sockets="bare_sockets"))
    print("```\n", flush=True)


def value_of(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")


def file_system(directory: Path) -> str:
    command = ["df", "--output=fstype", directory]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]


def version_of(program: str, option: str) -> str:
    done = subprocess.run([program, option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    words = done.stdout.split("\n", 1)[0].replace("/", " ").split()
    return f"{Path(program).name} {next((word for word in words if word[0].isdigit()), 'of unknown version')}"


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tdl-peers-", dir=parent.resolve()) as directory:
        yield Path(directory)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
