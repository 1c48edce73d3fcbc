#!/usr/bin/env python3
"""Measures tdl beside other downloaders, on servers of its own on loopback, and prints markdown tables.

    cargo build --release && python3 benches/peers.py > tables.md

It wants Linux, Python 3.11, nginx, openssl, GNU time and rustc; `apt install nginx-light openssl time curl aria2 wget wget2`
gets all but the last. A tool that is missing is left out. A full run takes about an hour; `--only` picks workloads.

The tools take turns: a round runs each of them once, in an order that rotates, into a fresh directory. What came is compared
byte for byte with what the server has, outside the measured time. The first round is not counted; of the others the median
is shown.
"""

import argparse
import datetime
import json
import os
import select
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class Workload:
    name: str
    # How many files of how many bytes, in the order of the list.
    sizes: tuple[tuple[int, int], ...]
    # A key of `Servers.urls`.
    server: str = "http"
    on_disk: bool = False
    with_defaults: bool = True

    @property
    def files(self) -> int:
        return sum(count for count, _ in self.sizes)

    @property
    def directory(self) -> str:
        return "-".join(f"{count}x{size}" for count, size in self.sizes)


WORKLOADS = (
    Workload("5,000 x 4 KiB", ((5000, 4 * KIB),), on_disk=True),
    Workload("2,000 x 64 KiB", ((2000, 64 * KIB),), on_disk=True),
    Workload("48 x 16 MiB", ((48, 16 * MIB),), on_disk=True),
    Workload("1 x 1 GiB", ((1, GIB),), on_disk=True),
    Workload("TLS, 2,000 x 64 KiB", ((2000, 64 * KIB),), "https"),
    Workload("TLS, 48 x 16 MiB", ((48, 16 * MIB),), "https"),
    Workload("200 x 64 KiB after 100 ms", ((200, 64 * KIB),), "after-100-ms"),
    # One large file at the end of a list, where each answer has 2 MiB/s: it alone takes 16 s. The defaults change nothing.
    Workload(
        "skewed, throttled",
        ((36, 512 * KIB), (3, 8 * MIB), (1, 32 * MIB)),
        "throttled",
        with_defaults=False,
    ),
)
CROWDED = Workload("200 x 64 KiB, four at once", ((200, 64 * KIB),), "four-at-once")
LONG_LIST = "long list"


@dataclass(frozen=True)
class Tool:
    name: str
    # {at_once} is where `sixteen` goes, or nothing where the tool's defaults are measured; {tls} is where `tls` goes.
    command: str
    sixteen: str
    tls: str = ""
    version: str = "--version"
    # What has no number of its own for downloads at once is left out where defaults are measured.
    has_default: bool = True

    @property
    def program(self) -> str:
        return self.command.split()[0]


# All of them quiet, with their own retries and time-outs. None sets disk space aside before it writes: aria2c would.
# {curl_list} is the list as a file of options; {share} is a sixteenth of a long list, so that each wget keeps its connection,
# and 1 where there are few files, so that none waits behind another.
TOOLS = (
    Tool("tdl", "{tdl} fetch -q {at_once} {tls} -i {list} -o {dir}", "--jobs 16", "--insecure"),
    Tool(
        "curl -Z",
        "curl -Z {at_once} -s -f {tls} --remote-name-all --output-dir {dir} -K {curl_list}",
        "--parallel-max 16 --parallel-immediate",
        "-k",
    ),
    # Its --min-split-size stays 20 MiB: a file below 40 MiB comes over one connection.
    Tool(
        "aria2c",
        "aria2c -q {at_once} --file-allocation=none {tls} -i {list} -d {dir}",
        "-j16 -x16 -s16",
        "--check-certificate=false",
    ),
    Tool("wget2", "wget2 -q {at_once} {tls} -i {list} -P {dir}", "--max-threads=16", "--no-check-certificate"),
    Tool(
        "xargs wget",
        "xargs -a {list} {at_once} -n {share} wget -q {tls} -P {dir}",
        "-P16",
        "--no-check-certificate",
        has_default=False,
    ),
    # No tool but a yardstick, see bare_sockets.rs.
    Tool("bare sockets", "{bare_sockets} {list} {dir} {at_once}", "16", version="", has_default=False),
)
US, YARDSTICK = "tdl", "bare sockets"

TIMEOUT_SECONDS = 120
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Measured:
    seconds: list[float] = field(default_factory=list)
    peak_kib: int = 0
    # Why there is no time to show: "failed", "timed out" or "wrong".
    trouble: str = ""

    @property
    def median(self) -> float | None:
        return None if self.trouble or not self.seconds else statistics.median(self.seconds)


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools = present_tools(options)
    chosen = [workload for workload in WORKLOADS if is_chosen(workload.name, options)]
    with temporary_directory(Path("/dev/shm")) as memory, running_servers(memory) as servers:
        bench = Bench(options.tdl, options.rounds, memory, servers)
        print_header(options, tools)
        if chosen:
            results = bench.table(chosen, tools, memory / "out", sixteen=True)
            print_times("16 at once, into memory", chosen, tools, results)
            print_peaks("Peak memory in MiB, 16 at once", chosen, tools, results)
        on_disk = [workload for workload in chosen if workload.on_disk]
        if on_disk and not options.no_disk:
            with temporary_directory(options.disk) as disk:
                results = bench.table(on_disk, tools, disk / "out", sixteen=True)
                print_times("16 at once, onto a disk", on_disk, tools, results)
        with_defaults = [workload for workload in chosen if workload.with_defaults]
        if with_defaults and not options.no_defaults:
            tools = [tool for tool in tools if tool.has_default]
            results = bench.table(with_defaults, tools, memory / "out", sixteen=False)
            print_times("Each with its own defaults, into memory", with_defaults, tools, results)
        if is_chosen(CROWDED.name, options):
            print_crowded(bench)
        if is_chosen(LONG_LIST, options):
            print_long_list(bench)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = REPOSITORY / "target"
    parser.add_argument("--tdl", type=Path, default=target / "release/tdl", help="the tdl to measure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (%(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="workloads with this in their name; repeatable")
    parser.add_argument("--tools", help="names of tools, with commas; all that are there unless given")
    parser.add_argument("--disk", type=Path, default=target, help="a directory on a disk (%(default)s)")
    parser.add_argument("--no-disk", action="store_true", help="leave out the table on a disk")
    parser.add_argument("--no-defaults", action="store_true", help="leave out the table with the tools' defaults")
    options = parser.parse_args()
    if not options.tdl.is_file():
        parser.error(f"there is no {options.tdl}: run cargo build --release, or say where with --tdl")
    if unknown := {name for name in names_of(options) if name not in [tool.name for tool in TOOLS]}:
        parser.error(f"unknown: {', '.join(unknown)}; tools are {', '.join(tool.name for tool in TOOLS)}")
    for program in ("nginx", "openssl", "time"):
        if not shutil.which(program):
            parser.error(f"{program} is missing")
    return options


def names_of(options: argparse.Namespace) -> list[str]:
    return options.tools.split(",") if options.tools else [tool.name for tool in TOOLS]


def present_tools(options: argparse.Namespace) -> list[Tool]:
    tools = []
    for tool in TOOLS:
        program = {US: str(options.tdl), YARDSTICK: "rustc"}.get(tool.name, tool.program)
        if tool.name not in names_of(options):
            continue
        if shutil.which(program):
            tools.append(tool)
        else:
            say(f"{tool.name} is left out: there is no {program}")
    return tools


def is_chosen(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(text in name for text in options.only)


class Bench:
    def __init__(self, tdl: Path, rounds: int, memory: Path, servers: "Servers") -> None:
        self.rounds = rounds
        self.memory = memory
        self.servers = servers
        self.programs = {"tdl": tdl.resolve(), "bare_sockets": memory / "bare_sockets"}
        if shutil.which("rustc"):
            source = REPOSITORY / "benches/bare_sockets.rs"
            compiler = ["rustc", "-O", "--edition", "2024", "-o", self.programs["bare_sockets"], source]
            subprocess.run(compiler, check=True)

    def table(
        self, workloads: list[Workload], tools: list[Tool], out: Path, sixteen: bool
    ) -> dict[tuple[Workload, Tool], Measured]:
        results = {}
        for workload in workloads:
            # A yardstick for plain http: TLS is not in Rust's standard library.
            able = [tool for tool in tools if workload.server != "https" or tool.name != YARDSTICK]
            commands = {tool: self.command(tool, workload, out, sixteen) for tool in able}
            measured = self.take_turns(workload, commands, out)
            results |= {(workload, tool): measured[tool] for tool in able}
        return results

    def take_turns(self, workload: Workload, commands: dict[Tool, list[str]], out: Path) -> dict[Tool, Measured]:
        results = {tool: Measured() for tool in commands}
        tools = list(commands)
        for number in range(self.rounds + 1):
            start = number % len(tools)
            for tool in tools[start:] + tools[:start]:
                self.turn(workload, tool.name, commands[tool], out, results[tool], counts=number > 0)
        return results

    def turn(
        self, workload: Workload, name: str, command: list[str], out: Path, result: Measured, counts: bool
    ) -> None:
        """Runs a tool once. One that failed in an earlier round does not run again."""
        if result.trouble:
            return
        out.mkdir()
        # What an earlier run left to be written to a disk is not this one's.
        os.sync()
        seconds, peak_kib, trouble = self.run(command)
        if not trouble and not is_same(self.servers.files / workload.directory, out):
            trouble = "wrong"
        shutil.rmtree(out)
        say(f"{workload.name}: {name}: {trouble or f'{seconds:.3f} s, {peak_kib / KIB:.1f} MiB'}")
        if trouble:
            say(f"  {shlex.join(command)}\n{self.log.read_text(errors='replace')[-2000:]}")
            result.trouble = trouble
        elif counts:
            result.seconds.append(seconds)
            result.peak_kib = max(result.peak_kib, peak_kib)

    def run(self, command: list[str]) -> tuple[float, int, str]:
        """Seconds, peak memory in KiB, and what was wrong."""
        # A child's peak begins with that of the process which started it, for Python more than some of these tools ever
        # use: so GNU time starts it, which is small.
        peak = self.memory / "peak"
        home = self.memory / "home"
        home.mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            start = time.perf_counter()
            child = subprocess.Popen(
                ["time", "--quiet", "--format=%M", f"--output={peak}", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Neither proxies nor anyone's own settings.
                env={"PATH": os.environ["PATH"], "HOME": str(home)},
                start_new_session=True,
            )
            try:
                in_time = ends_in_time(child)
                seconds = time.perf_counter() - start
            finally:
                # Whatever it has started too, after a time-out or an interrupt.
                end_group(child)
        if not in_time:
            return seconds, 0, "timed out"
        return seconds, int(peak.read_text()), "failed" if child.returncode else ""

    def command(self, tool: Tool, workload: Workload, out: Path, sixteen: bool) -> list[str]:
        values = {
            **self.programs,
            **self.servers.lists(workload),
            "dir": out,
            "share": -(-workload.files // 16) if workload.files > 100 else 1,
        }
        at_once = tool.sixteen if sixteen else ""
        tls = tool.tls if workload.server == "https" else ""
        words = tool.command.replace("{at_once}", at_once).replace("{tls}", tls).split()
        return [word.format(**values) for word in words]

    @property
    def log(self) -> Path:
        return self.memory / "log"


def ends_in_time(child: subprocess.Popen[bytes]) -> bool:
    """Popen.wait with a time-out looks only now and then; this returns at once when the child ends."""
    ended = os.pidfd_open(child.pid)
    try:
        return bool(select.select([ended], [], [], TIMEOUT_SECONDS)[0])
    finally:
        os.close(ended)


def end_group(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def is_same(source: Path, copy: Path) -> bool:
    """Whether two directories have the same files with the same bytes, and no others."""
    command = ["diff", "-rq", "--no-dereference", source, copy]
    return subprocess.run(command, stdout=sys.stderr).returncode == 0


class Servers:
    """The files, the servers that give them, and lists of their URLs."""

    def __init__(self, memory: Path, urls: dict[str, str]) -> None:
        self.files = memory / "files"
        self.memory = memory
        self.urls = urls

    def lists(self, workload: Workload) -> dict[str, Path]:
        """Makes the files of a workload, unless they are there, and its list for each kind of tool."""
        names = make_files(self.files / workload.directory, workload.sizes)
        urls = [f"{self.urls[workload.server]}/{workload.directory}/{name}" for name in names]
        plain = self.memory / "urls.txt"
        plain.write_text("".join(f"{url}\n" for url in urls))
        curl = self.memory / "urls.curl"
        curl.write_text("".join(f'url = "{url}"\n' for url in urls))
        return {"list": plain, "curl_list": curl}

    def refusals(self) -> tuple[int, int]:
        """How many requests the crowded server got and refused since this was asked last."""
        with urllib.request.urlopen(f"{self.urls['count']}") as answer:
            count = json.load(answer)
        return count["requests"], count["refused"]


def make_files(directory: Path, sizes: tuple[tuple[int, int], ...]) -> list[str]:
    lengths = [size for count, size in sizes for _ in range(count)]
    names = [f"{number:05}.bin" for number in range(1, len(lengths) + 1)]
    if not directory.exists():
        say(f"making {len(names)} files, {sum(lengths) / MIB:.0f} MiB")
        directory.mkdir(parents=True)
        for name, length in zip(names, lengths):
            with (directory / name).open("wb") as file:
                while (left := length - file.tell()) > 0:
                    file.write(os.urandom(min(left, 16 * MIB)))
    return names


@contextmanager
def running_servers(memory: Path) -> Iterator[Servers]:
    # nginx's workers are another user's when root starts it.
    memory.chmod(0o755)
    (memory / "files").mkdir()
    http, https = free_ports()
    with running(nginx_command(memory, http, https)):
        wait_for(http)
        with running([sys.executable, str(REPOSITORY / "benches/slow_server.py"), str(memory / "files")]) as slow:
            url = f"http://127.0.0.1:{int(slow.stdout.readline())}"
            ways = ("after-100-ms", "throttled", "four-at-once", "count")
            urls = {"http": f"http://127.0.0.1:{http}", "https": f"https://127.0.0.1:{https}"}
            yield Servers(memory, urls | {way: f"{url}/{way}" for way in ways})


def nginx_command(memory: Path, http: int, https: int) -> list[str]:
    key, certificate = memory / "key.pem", memory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    # Not nginx's defaults: sendfile and a worker for each core, as Debian has them; no log of requests, which would cost
    # each of them; a type that says that the files are bytes. The paths and the pid are where anyone may write.
    configuration = f"""
        daemon off;
        worker_processes auto;
        pid {memory}/nginx.pid;
        error_log {memory}/nginx.log;
        events {{}}
        http {{
            sendfile on;
            access_log off;
            default_type application/octet-stream;
            client_body_temp_path {memory}/nginx-body;
            proxy_temp_path {memory}/nginx-proxy;
            fastcgi_temp_path {memory}/nginx-fastcgi;
            uwsgi_temp_path {memory}/nginx-uwsgi;
            scgi_temp_path {memory}/nginx-scgi;
            server {{
                listen 127.0.0.1:{http};
                listen 127.0.0.1:{https} ssl;
                ssl_certificate {certificate};
                ssl_certificate_key {key};
                root {memory}/files;
            }}
        }}
    """
    path = memory / "nginx.conf"
    path.write_text(configuration)
    return ["nginx", "-p", str(memory), "-c", str(path), "-e", str(memory / "nginx.log")]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    # A session of its own, so that Ctrl-C reaches this script alone, which then ends it.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield server
    finally:
        # nginx takes its workers with it.
        server.terminate()
        server.wait()


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in (one, other)]


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    sys.exit("nginx does not answer")


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tdl-peers-", dir=parent.resolve()) as directory:
        yield Path(directory)


def print_header(options: argparse.Namespace, tools: list[Tool]) -> None:
    cores = os.cpu_count()
    model = value_of("/proc/cpuinfo", "model name")
    memory = int(value_of("/proc/meminfo", "MemTotal").split()[0]) * KIB / GIB
    versions = [version_of([str(options.tdl), "--version"])]
    versions += [version_of([tool.program, tool.version]) for tool in tools if tool.name not in (US, YARDSTICK)]
    versions += [version_of(["nginx", "-v"]), version_of(["rustc", "--version"]), f"Python {sys.version.split()[0]}"]
    print(f"- {datetime.date.today()}, {model}, {cores} cores, {memory:.1f} GiB of memory, Linux {os.uname().release}")
    print(f"- {'; '.join(versions)}")
    print(f"- `{shlex.join(['python3', *sys.argv])}`: medians of {options.rounds} rounds, in seconds")
    print("- the servers run on the same cores; tdl / X below 1 means that tdl took less time than X\n")
    print("```sh")
    for tool in tools:
        placeholders = {name: name.upper() for name in ("list", "curl_list", "dir", "share")}
        command = tool.command.replace("{at_once}", tool.sixteen).replace("{tls} ", "")
        print(command.format(**placeholders, tdl="tdl", bare_sockets="bare_sockets"))
    print("```\n", flush=True)


def value_of(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")


def version_of(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    words = done.stdout.splitlines()[0].split()
    number = next((word for word in words if any(character.isdigit() for character in word) and "." in word), "")
    return f"{Path(command[0]).name} {number.removeprefix('nginx/')}"


def print_times(
    title: str, workloads: list[Workload], tools: list[Tool], results: dict[tuple[Workload, Tool], Measured]
) -> None:
    names = [tool.name for tool in tools]
    rows = []
    for workload in workloads:
        measured = {tool.name: results[workload, tool] for tool in tools if (workload, tool) in results}
        medians = {name: one.median for name, one in measured.items() if one.median}
        peers = [name for name in medians if name not in (US, YARDSTICK)]
        row = [workload.name, *(time_cell(measured.get(name)) for name in names)]
        best = min(peers, key=lambda name: medians[name], default="")
        row.append(f"{ratio(medians, US, best)} ({best})" if best else "")
        if YARDSTICK in names:
            row.append(ratio(medians, US, YARDSTICK))
        rows.append(row)
    yardstick = [f"{US} / {YARDSTICK}"] if YARDSTICK in names else []
    print_table(title, ["workload", *names, f"{US} / best peer", *yardstick], rows)


def print_peaks(
    title: str, workloads: list[Workload], tools: list[Tool], results: dict[tuple[Workload, Tool], Measured]
) -> None:
    # Of processes that run at once, the kernel tells the largest alone.
    names = ["one wget" if tool.name == "xargs wget" else tool.name for tool in tools]
    rows = [[workload.name, *(peak_cell(results.get((workload, tool))) for tool in tools)] for workload in workloads]
    print_table(title, ["workload", *names], rows)


def print_crowded(bench: Bench) -> None:
    """How tdl copes with a server that refuses more than four requests at once, by itself and told of it."""
    out = bench.memory / "out"
    tdl = TOOLS[0]
    rows = []
    medians = {}
    for limit in ("", " --per-host 4"):
        name = f"tdl --jobs 16{limit}"
        command = bench.command(tdl, CROWDED, out, sixteen=True) + limit.split()
        result = Measured()
        bench.servers.refusals()
        for _ in range(bench.rounds):
            bench.turn(CROWDED, name, command, out, result, counts=True)
        requests, refused = bench.servers.refusals()
        medians |= {name: result.median} if result.median else {}
        rows.append([name, time_cell(result), f"{refused:,} of {requests:,}"])
    told, by_itself = reversed(medians) if len(medians) == 2 else ("", "")
    rows[0].append(ratio(medians, by_itself, told))
    rows[1].append("")
    title = "Limits under load: 200 x 64 KiB after 50 ms, and 503 for whatever is more than four at once"
    print_table(title, ["command", "seconds", f"refused, in {bench.rounds} rounds", "first / second"], rows)


def print_long_list(bench: Bench) -> None:
    path = bench.memory / "long.txt"
    path.write_text("".join(f"https://example.org/files/{number:06}.bin\n" for number in range(100_000)))
    runs = [
        bench.run([str(bench.programs["tdl"]), "fetch", "--dry-run", "-q", "-i", str(path)])
        for _ in range(bench.rounds)
    ]
    trouble = next((trouble for _, _, trouble in runs if trouble), "")
    result = Measured([seconds for seconds, _, _ in runs], max(peak for _, peak, _ in runs), trouble)
    row = ["tdl fetch --dry-run -q -i LIST", time_cell(result), peak_cell(result)]
    print_table("A long list: 100,000 URLs", ["command", "seconds", "peak MiB"], [row])


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    print(f"**{title}**\n")
    for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows):
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def time_cell(measured: Measured | None) -> str:
    if not measured or not measured.median:
        return measured.trouble if measured else ""
    # Three digits, and no point at the end.
    return f"{measured.median:#.3g}".rstrip(".")


def peak_cell(measured: Measured | None) -> str:
    return f"{measured.peak_kib / KIB:.0f}" if measured and measured.median else time_cell(measured)


def ratio(medians: dict[str, float], one: str, other: str) -> str:
    return f"{medians[one] / medians[other]:.2f}" if one in medians and other in medians else ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
