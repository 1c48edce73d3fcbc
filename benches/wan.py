"""Measures tdl and other downloaders over an emulated wide-area link, and prints markdown tables.

    cargo build --release && sudo python3 benches/wan.py --peers DIR > tables.md

Two network namespaces are joined by a link with a round trip, a rate, random loss (in each direction) and a drop-tail queue
of one round trip (wan_link.c). nginx serves from the far end, the tools run at the near end, the kernel's own TCP at both.
The links and lists are below; `--link 200:100:0.1` adds one of 200 ms, 100 Mbit/s and 0.1 % loss, and `--list 20x512` one
of 20 files of 512 KiB. `--check` measures the links instead of the tools.

Needs Linux, root, /dev/net/tun, Python 3.11, a C compiler, nginx, iproute2, util-linux and GNU time; `apt install gcc
nginx-light iproute2 time curl aria2 wget2` installs the tools. Missing tools are left out. Distributions have old releases
of the peers: `--peers DIR`, or the variable PEERS, names a directory with newer ones (curl8, aria2c-1.37, wget2-2.2,
aria2-next). They must be able to read and write below /dev/shm, also if they run in a chroot.

A full run takes an hour and a half; `--quick --link ocean` takes less than five minutes. The tools take turns, in rotating
order. Both kernels forget what they have learned about the path before each run, and nothing is left on the link. The files
are compared byte for byte with the server's, outside the measured time. `--json` is rewritten after each workload.

The standard error shows for each run how late the emulator was with a packet. A run in which that is more than a fraction of
the round trip measured a busy machine.

What the tables count, each divided by the size of the files:

- on the link: all IP packets that the link delivered to the client, until nothing moves after the tool has ended
- body: the TCP payload that the client's kernel acknowledged, or that arrived after the tool had closed the connection,
  without the heads of responses (nginx logs their size). So a segment that TCP sent twice counts once, and a range that was
  requested twice counts twice. What arrived at a closed connection is shown in brackets.

The namespaces have no names and vanish with the programs inside. Nothing outside of them is changed.
"""

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import Tool
from runs import (
    KIB,
    MIB,
    Runner,
    add_common_options,
    check_common_options,
    clean_up_when_stopped,
    find_program,
    in_turns,
    is_same,
    machine,
    say,
    temporary_directory,
    version_of,
)
from servers import Servers
from tables import US, Comparison, print_table
from wan_link import FAR_ADDRESS, Link, Shape, compile_emulator, running_link, running_nginx
from wan_tables import Transferred, Transfers, print_results, write_json

Named = TypeVar("Named", Shape, "FileList", Tool)

LINKS = (
    Shape("metro", 10, 500),
    Shape("country", 40, 300),
    Shape("ocean", 120, 200),
    Shape("ocean-lossy", 120, 200, 0.05),
    Shape("mobile", 80, 30, 0.2),
)


@dataclass(frozen=True)
class FileList:
    name: str
    count: int
    size: int

    def __str__(self) -> str:
        size = f"{self.size // MIB} MiB" if self.size % MIB == 0 else f"{self.size // KIB} KiB"
        return f"{self.name} ({self.count:,} x {size})"

    @property
    def total(self) -> int:
        return self.count * self.size


LISTS = (
    FileList("tiny", 1000, 4 * KIB),
    FileList("small", 400, 64 * KIB),
    FileList("mid", 40, 2 * MIB),
    FileList("big", 1, 128 * MIB),
)

NO_SPLIT = "tdl --no-split"
CURL = "{program} -Z -s -f --remote-name-all --output-dir {dir} -K {curl_list}"
PEERS = (
    Tool("curl -Z", "curl", CURL),
    # falloc, because aria2c by default writes each file twice, first as zeros.
    Tool(
        "aria2c -x16",
        "aria2c",
        "{program} -q -j16 -x16 -s16 -k1M --file-allocation=falloc -i {list} -d {dir}",
    ),
    Tool("wget2", "wget2", "{program} -q --max-threads=16 -i {list} -P {dir}"),
    Tool("aria2-next", "aria2-next", "{program} -q -i {list} -d {dir}"),
)
FIXED = tuple(
    Tool(f"curl {count}", "curl", f"{CURL} --parallel-immediate --parallel-max {count}") for count in (8, 16, 32, 64)
)
TOOLS = (
    Tool(US, "", "{tdl} fetch -q -i {list} -o {dir}"),
    Tool(NO_SPLIT, "", "{tdl} fetch -q --no-split -i {list} -o {dir}"),
    *PEERS,
    *FIXED,
)
COMPARISONS = [
    Comparison(f"{US} / best peer", tuple(tool.name for tool in PEERS)),
    Comparison(f"{US} / best fixed number", tuple(tool.name for tool in FIXED)),
    Comparison(f"{US} / {NO_SPLIT}", (NO_SPLIT,)),
]

# No file that is smaller is split.
SPLIT_FROM = 1 * MIB
TIMEOUT_SECONDS = 300
# What --quick leaves out.
NOT_QUICK = ("curl 8", "curl 32")
QUICK_SECONDS = 15


def main() -> None:
    options = arguments()
    clean_up_when_stopped()
    # Below /dev/shm, where releases in a chroot can read and write.
    with temporary_directory(Path("/dev/shm")) as memory:
        # The workers of nginx run as another user.
        memory.chmod(0o755)
        emulator = compile_emulator(memory)
        if options.check:
            check(options, emulator)
        else:
            measure(options, emulator, memory)


def measure(options: argparse.Namespace, emulator: Path, memory: Path) -> None:
    programs = {"tdl": str(options.tdl.resolve())}
    programs |= {name: path for tool in TOOLS if (name := tool.program) and (path := find_program(name, options.peers))}
    tools = [tool for tool in options.tool if (tool.program or "tdl") in programs]
    for tool in options.tool:
        if tool not in tools:
            say(f"{tool.name} is left out: there is no {tool.program}")
    versions = [version_of(path, name) for name, path in programs.items()] + [version_of("nginx", "nginx", "-v")]
    wan = Wan(options, memory, programs)
    results: Transfers = {}
    congestion = ""
    for shape in options.link:
        with running_link(emulator, shape) as link, running_nginx(memory, link, wan.access_log):
            congestion = link.congestion_control(options.congestion)
            for files in options.list:
                if options.quick and shape.seconds_for(files.total) > QUICK_SECONDS:
                    say(f"{shape.name}, {files.name} is left out: the link alone takes too long")
                    continue
                results[f"{shape.name}, {files.name}"] = wan.measure(link, files, tools)
                if options.json:
                    context: dict[str, object] = {"command": sys.argv, "versions": versions, "congestion": congestion}
                    write_json(options.json, context, results)
    print_header(options, tools, versions, congestion)
    print_results([tool.name for tool in tools], results, COMPARISONS)


class Wan:
    def __init__(self, options: argparse.Namespace, memory: Path, programs: dict[str, str]) -> None:
        self.rounds = options.rounds
        self.memory = memory
        self.programs = programs
        (memory / "files").mkdir()
        self.servers = Servers(memory, {"far": f"http://{FAR_ADDRESS}"})
        self.runner = Runner(memory, TIMEOUT_SECONDS)
        self.access_log = memory / "access.log"

    def measure(self, link: Link, files: FileList, tools: list[Tool]) -> dict[str, Transferred]:
        able = {tool.name: tool for tool in tools if tool.name != NO_SPLIT or files.size > SPLIT_FROM}
        results = {name: Transferred(wanted=files.total) for name in able}
        if able:
            for _, name in in_turns([*able], self.rounds):
                # A tool that failed once is not run again.
                if not results[name].trouble:
                    self.turn(link, files, able[name], results[name])
        return results

    def turn(self, link: Link, files: FileList, tool: Tool, result: Transferred) -> None:
        lists = self.servers.lists("far", ((files.count, files.size),))
        source = self.servers.files(((files.count, files.size),))
        link.forget_metrics()
        with temporary_directory(self.memory) as out:
            program = self.programs[tool.program or "tdl"]
            values = {**lists, "program": program, "tdl": program, "dir": out}
            command = [word.format(**values) for word in tool.command.split()]
            # Empties the log, to which nginx appends.
            os.truncate(self.access_log, 0)
            before = link.carried()
            run = self.runner.run(command, link.at_near)
            carried = link.settle().since(before)
            trouble = run.trouble or ("" if is_same(source, out) else "wrong")
        what = f"{link.shape.name}, {files.name}: {tool.name}"
        if trouble:
            say(f"{what}: {trouble}\n{shlex.join(command)}\n{self.runner.last_output()}")
            result.trouble = trouble
            return
        result.seconds.append(run.seconds)
        result.peak_kib = max(result.peak_kib, run.peak_kib)
        result.carried.append(carried)
        result.heads.append(self.head_bytes())
        say(
            f"{what}: {run.seconds:.3f} s, {run.peak_kib / KIB:.1f} MiB, {result.on_link[-1]:.3f} on the link, "
            f"{result.body[-1]:.3f} body ({result.after_close[-1]:.3f} after close), "
            f"{carried.dropped} dropped, {carried.lost} lost, {carried.late_ms:.1f} ms late"
        )

    def head_bytes(self) -> int:
        responses = [line.split() for line in self.access_log.read_text().splitlines()]
        return sum(int(sent) - int(body) for sent, body in responses)


def check(options: argparse.Namespace, emulator: Path) -> None:
    """Measures the links themselves. Their loss is random: 50,000 datagrams show 0.05 % to a fifth of it."""
    rows = []
    for shape in options.link:
        with running_link(emulator, shape) as link:
            round_trip, rate, loss = map(float, link.probe().split())
        rows.append([str(shape), f"{round_trip:.2f}", f"{rate:.1f}", f"{loss:.3f}"])
    print_table("The links, measured with datagrams", ["link", "round trip in ms", "Mbit/s", "loss in percent"], rows)


def print_header(options: argparse.Namespace, tools: list[Tool], versions: list[str], congestion: str) -> None:
    print(f"- {datetime.date.today()}, {machine()}")
    print(f"- {', '.join(versions)}, Python {sys.version.split()[0]}")
    print(f"- `{shlex.join(['python3', *sys.argv])}`")
    print(f"- congestion control of the server: {congestion}; queue of the link: one round trip, unless stated")
    print(f"- medians of {options.rounds} rounds; a ratio below 1 means that tdl took less")
    for shape in options.link:
        print(f"- {shape}")
    for files in options.list:
        print(f"- {files}")
    print("\n```sh")
    for tool in tools:
        values = {"list": "LIST", "curl_list": "CURL_LIST", "dir": "DIR", "program": tool.program, "tdl": "tdl"}
        print(tool.command.format(**values))
    print("```\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser, rounds=3)
    named = {
        "link": [shape.name for shape in LINKS],
        "list": [files.name for files in LISTS],
        "tool": [tool.name for tool in TOOLS],
    }
    for what, names in named.items():
        parser.add_argument(
            f"--{what}", action="append", metavar="NAME", help=f"repeatable, or with commas: {', '.join(names)}"
        )
    parser.add_argument("--congestion", metavar="NAME", help="cubic, bbr, ... at the server (the system's default)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each run's numbers to a file as well")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round, without {' and '.join(NOT_QUICK)}, and no list that takes the link more than {QUICK_SECONDS} s",
    )
    parser.add_argument("--check", action="store_true", help="measure the links, without any tool")
    options = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        parser.error("this needs Linux, root and /dev/net/tun")
    options.link = chosen(parser, options.link, LINKS, custom_link)
    options.list = chosen(parser, options.list, LISTS, custom_list)
    options.tool = chosen(parser, options.tool, TOOLS, custom_tool)
    needed = ["cc", "nsenter", "setpriv"] + ([] if options.check else ["diff", "ip", "nginx", "time"])
    check_common_options(parser, options, needed, needs_tdl=not options.check)
    if options.quick:
        options.rounds = 1
        options.tool = [tool for tool in options.tool if tool.name not in NOT_QUICK]
    return options


def chosen(
    parser: argparse.ArgumentParser, given: list[str] | None, known: tuple[Named, ...], custom: Callable[[str], Named]
) -> list[Named]:
    """Returns what was named, in the order of the tables, and then what was described."""
    if not given:
        return list(known)
    names = [name.strip() for one in given for name in one.split(",")]
    found = [one for one in known if one.name in names]
    for name in names:
        if name in [one.name for one in known]:
            continue
        try:
            found.append(custom(name))
        except (TypeError, ValueError):
            parser.error(f"unknown: {name}; known: {', '.join(one.name for one in known)}")
    return found


def custom_link(text: str) -> Shape:
    """ROUND_TRIP_MS:MBIT[:LOSS_PERCENT[:QUEUE_MS]]"""
    return Shape(text, *map(float, text.split(":")))


def custom_list(text: str) -> FileList:
    """COUNTxKIB"""
    count, size = map(int, text.split("x"))
    return FileList(text, count, size * KIB)


def custom_tool(text: str) -> Tool:
    raise ValueError(text)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
