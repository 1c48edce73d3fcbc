"""Runs one program at a time for peers.py and wan.py: measures it, limits its time, compares what it downloaded."""

import argparse
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

PEERS = ("aria2-next", "aria2c", "curl", "wget2", "wget")

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_kib: int
    # "failed" or "timed out".
    trouble: str


class Runner:
    def __init__(self, memory: Path, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.log = memory / "log"
        self.peak = memory / "peak"
        self.home = memory / "home"
        self.home.mkdir()

    def run(self, command: list[str], inside: Sequence[str] = ()) -> Run:
        """Runs a command; `inside` is the command that starts it elsewhere."""
        # A process inherits the peak memory of its parent, and Python's is larger than that of some tools. So GNU time,
        # which is small, starts them.
        with self.log.open("wb") as log:
            start = time.perf_counter()
            child = subprocess.Popen(
                [*inside, "time", "--quiet", "--format=%M", f"--output={self.peak}", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # No proxies and no user settings.
                env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
                start_new_session=True,
            )
            try:
                in_time = ends_in_time(child, self.timeout_seconds)
                seconds = time.perf_counter() - start
            finally:
                end_group(child)
        if not in_time:
            return Run(seconds, 0, "timed out")
        return Run(seconds, int(self.peak.read_text()), "failed" if child.returncode else "")

    def last_output(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def ends_in_time(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Returns as soon as the child ends. Popen.wait with a timeout polls only now and then."""
    ended = os.pidfd_open(child.pid)
    try:
        return bool(select.select([ended], [], [], seconds)[0])
    finally:
        os.close(ended)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kills what remains of a child that was too slow or interrupted, including its own children."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def in_turns(names: list[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yields round and name: each round has every name, and begins with the next one."""
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            yield number, name


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


def find_program(name: str, releases: Path | None) -> str | None:
    """Returns the program's newest release in that directory, else the system's.

    The name of a release may end in its version: curl8, aria2c-1.37.
    """
    found = []
    for file in releases.iterdir() if releases else ():
        # A release of wget2 is not version 2 of wget.
        match = re.fullmatch(rf"({'|'.join(PEERS)})-?((?:\d+\.)*\d+)?", file.name)
        if match and match[1] == name and os.access(file, os.X_OK):
            version = [int(number) for number in (match[2] or "0").split(".")]
            found.append((version, str(file.absolute())))
    return max(found)[1] if found else shutil.which(name)


def version_of(program: str, name: str, option: str = "--version") -> str:
    done = subprocess.run([program, option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    words = done.stdout.split("\n", 1)[0].replace("/", " ").split()
    return f"{name} {next((word for word in words if word[0].isdigit()), 'of unknown version')}"


def machine() -> str:
    model = value_of("/proc/cpuinfo", "model name")
    memory = int(value_of("/proc/meminfo", "MemTotal").split()[0]) * KIB / GIB
    return f"{model}, {os.cpu_count()} cores, {memory:.1f} GiB of memory, Linux {os.uname().release}"


def value_of(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")


def add_common_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    parser.add_argument(
        "--tdl", type=Path, default=REPOSITORY / "target/release/tdl", help="the tdl to measure (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds that count (%(default)s)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=os.environ.get("PEERS") or None,
        metavar="DIR",
        help="with newer releases of the peers, such as curl8 or aria2c-1.37 (%(default)s; the variable PEERS)",
    )


def check_common_options(
    parser: argparse.ArgumentParser, options: argparse.Namespace, programs: Sequence[str], needs_tdl: bool = True
) -> None:
    if needs_tdl and not options.tdl.is_file():
        parser.error(f"there is no {options.tdl}: build it (cargo build --release), or name another with --tdl")
    if options.peers and not options.peers.is_dir():
        parser.error(f"there is no directory {options.peers}")
    if missing := [name for name in programs if not shutil.which(name)]:
        parser.error(f"missing: {', '.join(missing)}")


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tdl-bench-", dir=parent.resolve()) as directory:
        yield Path(directory)


def clean_up_when_stopped() -> None:
    """Both signals unwind and clean up, even if a shell made a background job ignore interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
