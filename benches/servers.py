"""The files of the benchmark, nginx and the slow server that give them, and lists of their URLs."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK = 16 * 1024 * 1024

# How many files of how many bytes, in the order of the list.
Sizes = tuple[tuple[int, int], ...]


class Servers:
    def __init__(self, memory: Path, urls: dict[str, str]) -> None:
        self.memory = memory
        self.urls = urls

    def files(self, sizes: Sizes) -> Path:
        """The directory with files of these sizes, which are made when they are first asked for."""
        directory = self.memory / "files" / "-".join(f"{count}x{size}" for count, size in sizes)
        if not directory.exists():
            directory.mkdir()
            lengths = [size for count, size in sizes for _ in range(count)]
            for number, length in enumerate(lengths, start=1):
                with (directory / f"{number:05}.bin").open("wb") as file:
                    while left := length - file.tell():
                        file.write(os.urandom(min(left, BLOCK)))
        return directory

    def lists(self, server: str, sizes: Sizes) -> dict[str, Path]:
        """The list of their URLs, one a line, and as a file of options for curl."""
        directory = self.files(sizes)
        urls = [f"{self.urls[server]}/{directory.name}/{file.name}" for file in sorted(directory.iterdir())]
        lists = {"list": self.memory / "urls.txt", "curl_list": self.memory / "urls.curl"}
        lists["list"].write_text("".join(f"{url}\n" for url in urls))
        lists["curl_list"].write_text("".join(f'url = "{url}"\n' for url in urls))
        return lists

    def count(self) -> tuple[int, int]:
        """How many requests the crowded server got and refused since this was asked last."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.urls["count"]) as answer:
            count = json.load(answer)
        return count["requests"], count["refused"]


@contextmanager
def running_servers(memory: Path) -> Iterator[Servers]:
    files = memory / "files"
    files.mkdir()
    # When root starts nginx, another user runs its workers.
    memory.chmod(0o755)
    http, https = free_ports()
    slow_server = [sys.executable, str(Path(__file__).with_name("slow_server.py")), str(files)]
    with running(nginx(memory, http, https)), running(slow_server) as slow:
        wait_for(http)
        slow_url = f"http://127.0.0.1:{int(slow.stdout.readline())}"
        urls = {"http": f"http://127.0.0.1:{http}", "https": f"https://127.0.0.1:{https}"}
        urls |= {way: f"{slow_url}/{way}" for way in ("after-100-ms", "chunked", "throttled", "four-at-once", "count")}
        yield Servers(memory, urls)


def nginx(memory: Path, http: int, https: int) -> list[str]:
    """Writes what nginx needs; the command that starts it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
        + ["-keyout", memory / "key.pem", "-out", memory / "certificate.pem"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    # Unlike nginx's defaults: a worker for each core and sendfile, as Debian has them; no log of requests, which costs each
    # of them time; no type that would make a tool look into a file. The other paths are where anyone may write.
    configuration = f"""
        daemon off;
        worker_processes auto;
        pid nginx.pid;
        events {{}}
        http {{
            sendfile on;
            access_log off;
            default_type application/octet-stream;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            server {{
                listen 127.0.0.1:{http};
                listen 127.0.0.1:{https} ssl;
                ssl_certificate certificate.pem;
                ssl_certificate_key key.pem;
                root files;
            }}
        }}
    """
    (memory / "nginx.conf").write_text(configuration)
    return ["nginx", "-p", str(memory), "-c", "nginx.conf", "-e", "nginx.log"]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    # In a session of its own, Ctrl-C does not reach it; this ends it, and nginx its workers.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield server
    finally:
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
