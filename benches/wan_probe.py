"""Measures a link with datagrams, for `wan.py --check`.

`wan_probe.py serve` runs at the far end until killed. `wan_probe.py measure MBIT` runs at the near end of a link of that
rate, and prints the round trip in milliseconds, the rate in Mbit/s, and the loss in percent.
"""

import socket
import statistics
import sys
import time

FAR = ("10.90.0.2", 9)
IP_AND_UDP = 28
LARGE, SMALL = 1472, 72
ROUND_TRIPS = 30
SAMPLE = 50_000
RATE_SECONDS = 2
BATCH_SECONDS = 0.002
# Longer than any queue and round trip.
SILENCE_SECONDS = 1.5
BUFFER = 64 * 1024 * 1024
# Not in the module `socket`: the limit of the system does not hold for root.
SO_RCVBUFFORCE = 33


def serve() -> None:
    """Answers "COUNT LENGTH PER_SECOND" with so many datagrams of this length, at this speed."""
    with new_socket() as far:
        far.bind(FAR)
        while True:
            request, client = far.recvfrom(100)
            count, length, per_second = map(int, request.split())
            content = bytes(length)
            start = time.perf_counter()
            sent = 0
            while sent < count:
                due = min(count, int((time.perf_counter() - start + BATCH_SECONDS) * per_second) + 1)
                for _ in range(due - sent):
                    far.sendto(content, client)
                sent = due
                time.sleep(BATCH_SECONDS)


def measure(mbit: float) -> None:
    with new_socket() as near:
        near.connect(FAR)
        round_trips = [round_trip(near) for _ in range(ROUND_TRIPS)]
        # Twice of what fits, so that the queue is never empty.
        per_second = int(2 * mbit * 1e6 / 8 / (LARGE + IP_AND_UDP))
        arrivals = request(near, RATE_SECONDS * per_second, LARGE, per_second)
        rate = (len(arrivals) - 1) * (LARGE + IP_AND_UDP) * 8 / 1e6 / (arrivals[-1] - arrivals[0])
        # A quarter of what fits, so that nothing is dropped by the queue.
        per_second = min(SAMPLE // 4, int(mbit * 1e6 / 8 / (SMALL + IP_AND_UDP) / 4))
        loss = 1 - len(request(near, SAMPLE, SMALL, per_second)) / SAMPLE
        print(f"{statistics.median(round_trips) * 1000:.2f} {rate:.2f} {loss * 100:.3f}")


def round_trip(near: socket.socket) -> float:
    """Tries again if the request or the answer is lost."""
    while True:
        start = time.perf_counter()
        if arrivals := request(near, 1, SMALL, 1000, limit=1):
            return arrivals[0] - start


def request(near: socket.socket, count: int, length: int, per_second: int, limit: int = 0) -> list[float]:
    """Returns when each datagram arrived."""
    near.settimeout(SILENCE_SECONDS)
    near.send(b"%d %d %d" % (count, length, per_second))
    arrivals: list[float] = []
    while not limit or len(arrivals) < limit:
        try:
            near.recv(LARGE)
        except TimeoutError:
            break
        arrivals.append(time.perf_counter())
    return arrivals


def new_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    return made


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        measure(float(sys.argv[2]))
