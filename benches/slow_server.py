"""Serves files in ways that nginx does not, most of them slow, for peers.py.

`python3 slow_server.py ROOT` prints its port and serves until killed. The first segment of a URL's path says how to serve
the file that the rest of the path names:

    /after-100-ms/...   each response begins after 100 ms
    /after-1-s/...      each response begins after a second
    /always-503/...     each request is refused with 503
    /twice-503/...      a file's first two requests are refused with 503; begins anew with each call of /count
    /throttled/...      each response gets 2 MiB/s, however many there are
    /four-at-once/...   each response begins after 50 ms; requests beyond four at once are refused with 503
    /chunked/...        each response is in chunks of 1,000 bytes, sent as fast as the client reads
    /count              the requests to /four-at-once/ and the refusals since the last call, as JSON
"""

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

RATE = 2 * 1024 * 1024
# Bytes per write, 10 ms at the rate: small compared to any file, with few enough wake-ups to keep this server idle.
SLICE = RATE // 100
MAX_IN_FLIGHT = 4
CHUNK = 1000


@dataclass(frozen=True)
class File:
    body: bytes
    etag: str
    modified: str


@dataclass
class Count:
    requests: int = 0
    refused: int = 0


class Server:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.in_flight = 0
        self.count = Count()
        self.refusals: Counter[str] = Counter()
        # Each file is read only once, so that only the intended delays slow a response.
        self.files: dict[str, File] = {}
        self.chunks: dict[str, bytes] = {}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self.respond(head.decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def respond(self, head: str, writer: asyncio.StreamWriter) -> None:
        request, *lines = head.split("\r\n")
        _method, path, _version = request.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        match path.split("/", 2):
            case ["", "after-100-ms", name]:
                await asyncio.sleep(0.1)
                await send(writer, *file_response(self.file(name), headers))
            case ["", "after-1-s", name]:
                await asyncio.sleep(1)
                await send(writer, *file_response(self.file(name), headers))
            case ["", "always-503", _]:
                await refuse(writer)
            case ["", "twice-503", name] if self.refusals[name] < 2:
                self.refusals[name] += 1
                await refuse(writer)
            case ["", "twice-503", name]:
                await send(writer, *file_response(self.file(name), headers))
            case ["", "chunked", name]:
                await send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", self.in_chunks(name))
            case ["", "throttled", name]:
                await send_evenly(writer, *file_response(self.file(name), headers))
            case ["", "four-at-once", name]:
                await self.respond_if_free(writer, name, headers)
            case ["", "count"]:
                body = json.dumps(vars(self.count)).encode()
                self.count = Count()
                self.refusals.clear()
                await send(writer, response_head("200 OK", body), body)
            case _:
                await send(writer, response_head("404 Not Found", b""), b"")

    async def respond_if_free(self, writer: asyncio.StreamWriter, name: str, headers: dict[str, str]) -> None:
        self.count.requests += 1
        if self.in_flight == MAX_IN_FLIGHT:
            self.count.refused += 1
            await refuse(writer)
            return
        self.in_flight += 1
        try:
            await asyncio.sleep(0.05)
            await send(writer, *file_response(self.file(name), headers))
        finally:
            self.in_flight -= 1

    def in_chunks(self, name: str) -> bytes:
        """Returns the file in chunks, framed only once: the benchmark measures the reader."""
        if name not in self.chunks:
            body = self.file(name).body
            parts = (body[offset : offset + CHUNK] for offset in range(0, len(body), CHUNK))
            framed = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
            self.chunks[name] = b"".join(framed) + b"0\r\n\r\n"
        return self.chunks[name]

    def file(self, name: str) -> File:
        if name not in self.files:
            path = self.root / name
            status = path.stat()
            etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
            self.files[name] = File(path.read_bytes(), etag, formatdate(status.st_mtime, usegmt=True))
        return self.files[name]


def file_response(file: File, headers: dict[str, str]) -> tuple[bytes, memoryview]:
    """Returns head and body: the whole file, or the requested range if `If-Range` matches."""
    size = len(file.body)
    first, last = 0, size - 1
    headers_sent = [f"ETag: {file.etag}", f"Last-Modified: {file.modified}", "Accept-Ranges: bytes"]
    status = "200 OK"
    requested = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if requested and headers.get("if-range", file.etag) in (file.etag, file.modified):
        first = int(requested[1])
        last = min(int(requested[2] or last), last)
        if first > last:
            return response_head("416 Range Not Satisfiable", b"", f"Content-Range: bytes */{size}"), memoryview(b"")
        status = "206 Partial Content"
        headers_sent.append(f"Content-Range: bytes {first}-{last}/{size}")
    body = memoryview(file.body)[first : last + 1]
    return response_head(status, body, *headers_sent), body


def response_head(status: str, body: bytes | memoryview, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]).encode("latin-1")


async def send(writer: asyncio.StreamWriter, head: bytes, body: bytes | memoryview) -> None:
    writer.write(head)
    writer.write(body)
    await writer.drain()


async def refuse(writer: asyncio.StreamWriter) -> None:
    await send(writer, response_head("503 Service Unavailable", b""), b"")


async def send_evenly(writer: asyncio.StreamWriter, head: bytes, body: memoryview) -> None:
    """Sends each slice when its last byte is due, so that delays do not add up and nothing is early."""
    clock = asyncio.get_running_loop().time
    start = clock()
    writer.write(head)
    for offset in range(0, len(body), SLICE):
        part = body[offset : offset + SLICE]
        await asyncio.sleep(start + (offset + len(part)) / RATE - clock())
        writer.write(part)
        await writer.drain()


async def main() -> None:
    server = Server(Path(sys.argv[1]))
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, backlog=1024)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
