"""Gives tools the same workloads in turn, for peers.py."""

import argparse
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from runs import REPOSITORY, Runner, find_program, in_turns, is_same, say, set_aside, temporary_directory
from servers import Servers, Sizes
from tables import YARDSTICK, Measured, Results

TIMEOUT_SECONDS = 120
SHORT_LIST = 100


@dataclass(frozen=True)
class Workload:
    name: str
    sizes: Sizes
    # `http` and `https` are nginx; slow_server.py describes the others.
    server: str = "http"
    on_disk: bool = False
    with_defaults: bool = True


@dataclass(frozen=True)
class Tool:
    name: str
    # The program it needs, which replaces {program}.
    program: str
    # `sixteen` replaces {at_once}, except when defaults are measured; `insecure` replaces {insecure} over TLS.
    # {share} is how many URLs each wget gets: a sixteenth of a long list, so that it can reuse its connection, but one of a
    # short list, where a large file would delay the others in its share.
    command: str
    sixteen: str = ""
    insecure: str = ""
    has_default: bool = True


class Bench:
    def __init__(self, options: argparse.Namespace, memory: Path, servers: Servers) -> None:
        self.rounds = options.rounds
        self.releases = options.peers
        self.memory = memory
        self.servers = servers
        self.runner = Runner(memory, TIMEOUT_SECONDS)
        self.programs = {"tdl": options.tdl.resolve(), "bare_sockets": memory / "bare_sockets"}
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
        """The first round is not counted."""
        results = {name: Measured() for name in commands}
        for number, name in in_turns([*commands], self.rounds + 1):
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
        run = self.runner.run(command)
        trouble = run.trouble
        if not trouble and not is_same(self.servers.files(workload.sizes), out):
            trouble = "wrong"
        set_aside(out)
        say(f"{workload.name}: {name}: {trouble or f'{run.seconds:.3f} s, {run.peak_kib / 1024:.1f} MiB'}")
        if trouble:
            say(f"{shlex.join(command)}\n{self.runner.last_output()}")
            result.trouble = trouble
        elif counts:
            result.seconds.append(run.seconds)
            result.peak_kib = max(result.peak_kib, run.peak_kib)

    def command(self, tool: Tool, workload: Workload, place: Path, sixteen: bool) -> list[str]:
        files = sum(count for count, _ in workload.sizes)
        share = 1 if files <= SHORT_LIST else -(-files // 16)
        values = {**self.servers.lists(workload.server, workload.sizes), "share": share}
        insecure = tool.insecure if workload.server == "https" else ""
        return self.words(tool, tool.sixteen if sixteen else "", insecure, {**values, "dir": place / "out"})

    def words(self, tool: Tool, at_once: str, insecure: str, values: dict[str, object]) -> list[str]:
        command = tool.command.replace("{at_once}", at_once).replace("{insecure}", insecure)
        program = find_program(tool.program, self.releases) if tool.program else ""
        values = {**self.programs, "program": program, **values}
        return [word.format(**values) for word in command.split()]
