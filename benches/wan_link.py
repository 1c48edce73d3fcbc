"""Starts wan_link.c, the emulator of a wide-area link, and what runs at its ends."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from servers import nginx, running

HERE = Path(__file__).resolve().parent
FAR_ADDRESS = "10.90.0.2"
# "10.90.0.2:80" and the state LISTEN, as /proc/net/tcp has them.
LISTENS = re.compile(r": 02005A0A:0050 \S+ 0A ")
SEED = 1


@dataclass(frozen=True)
class Shape:
    name: str
    round_trip_ms: float
    mbit: float
    loss_percent: float = 0
    # A round trip, unless given.
    queue_ms: float = 0

    def __str__(self) -> str:
        loss = f", {self.loss_percent:g} % loss" if self.loss_percent else ""
        queue = f", queue of {self.queue_ms:g} ms" if self.queue_ms else ""
        return f"{self.name} ({self.round_trip_ms:g} ms, {self.mbit:g} Mbit/s{loss}{queue})"

    def seconds_for(self, size: int) -> float:
        return size * 8 / (self.mbit * 1e6)


@dataclass(frozen=True)
class Carried:
    """What the link has carried, both ways unless it says otherwise."""

    packets: int
    # IP packets towards the client.
    bytes: int
    # TCP payload towards the client; that the client's kernel acknowledged; that arrived after the client had closed the
    # connection. What is in neither of the last two was sent twice.
    payload: int
    acknowledged: int
    after_close: int
    lost: int
    dropped: int
    # The latest packet since the last count. This should stay far below the round trip.
    late_ms: float

    def since(self, earlier: "Carried") -> "Carried":
        return replace(
            self,
            **{
                name: getattr(self, name) - getattr(earlier, name)
                for name in ("packets", "bytes", "payload", "acknowledged", "after_close", "lost", "dropped")
            },
        )


class Link:
    def __init__(self, shape: Shape, emulator: subprocess.Popen[str]) -> None:
        self.shape = shape
        self.emulator = emulator
        self.near, _, self.far = self.line().partition(" ")

    def line(self) -> str:
        if not (line := self.emulator.stdout.readline()):
            sys.exit("the emulator has stopped")
        return line.strip()

    @property
    def at_near(self) -> list[str]:
        return ["nsenter", f"--net={self.near}"]

    @property
    def at_far(self) -> list[str]:
        # Dies with this script, even if that is killed.
        return ["setpriv", "--pdeathsig", "TERM", "nsenter", f"--net={self.far}"]

    def carried(self) -> Carried:
        self.emulator.stdin.write("\n")
        self.emulator.stdin.flush()
        return Carried(**json.loads(self.line()))

    def settle(self) -> Carried:
        """Waits until nothing moves: an aborted response still fills the queue after the tool has ended."""
        quiet_seconds = 0.1 + (2 * self.shape.round_trip_ms + self.shape.queue_ms) / 1000
        carried, since = self.carried(), time.monotonic()
        late_ms = carried.late_ms
        while time.monotonic() - since < quiet_seconds:
            time.sleep(0.02)
            if (new := self.carried()).packets != carried.packets:
                carried, since = new, time.monotonic()
                late_ms = max(late_ms, new.late_ms)
        return replace(carried, late_ms=late_ms)

    def forget_metrics(self) -> None:
        """Makes both kernels forget what they learned about the path, which would favour the tool that comes second."""
        for end in (self.at_near, self.at_far):
            subprocess.run([*end, "ip", "tcp_metrics", "flush"], check=True)

    def congestion_control(self, wanted: str | None) -> str:
        """Sets that of the far end, if wanted, and returns what it is."""
        if wanted:
            # As a property of the route: the sysctl of a namespace takes only those that tcp_allowed_congestion_control lists.
            route = f"ip route replace 10.90.0.0/24 dev wan proto kernel scope link src {FAR_ADDRESS} congctl".split()
            if subprocess.run([*self.at_far, *route, wanted], check=False).returncode:
                sys.exit(
                    f"this kernel has no congestion control {wanted}: see net.ipv4.tcp_available_congestion_control"
                )
            return wanted
        show = [*self.at_far, "cat", "/proc/sys/net/ipv4/tcp_congestion_control"]
        return subprocess.run(show, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def probe(self) -> str:
        probe = [sys.executable, str(HERE / "wan_probe.py")]
        with running([*self.at_far, *probe, "serve"]):
            time.sleep(0.5)
            done = subprocess.run(
                [*self.at_near, *probe, "measure", f"{self.shape.mbit}"], stdout=subprocess.PIPE, text=True, check=True
            )
        return done.stdout


def compile_emulator(directory: Path) -> Path:
    program = directory / "wan_link"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "wan_link.c"], check=True)
    return program


@contextmanager
def running_link(emulator: Path, shape: Shape) -> Iterator[Link]:
    numbers = shape.round_trip_ms, shape.mbit, shape.loss_percent, shape.queue_ms or shape.round_trip_ms, SEED
    # In a new session, so that Ctrl-C does not reach it. It ends when its input does.
    child = subprocess.Popen(
        [emulator, *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Link(shape, child)
    finally:
        child.stdin.close()
        child.wait()


@contextmanager
def running_nginx(memory: Path, link: Link, access_log: Path) -> Iterator[None]:
    command = nginx(memory, f"listen {FAR_ADDRESS}:80;", f"{access_log} sizes")
    with running([*link.at_far, *command]) as server:
        for _ in range(500):
            if LISTENS.search(Path(f"/proc/{server.pid}/net/tcp").read_text()):
                break
            time.sleep(0.01)
        else:
            sys.exit("nginx does not respond")
        yield
