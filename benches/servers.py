"""The benchmark's files, nginx and the slow server that serve them, and lists of their URLs."""

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

# slow_server.py describes them.
SLOW_WAYS = (
    "after-100-ms",
    "after-1-s",
    "always-503",
    "chunked",
    "count",
    "four-at-once",
    "throttled",
    "twice-503",
)

# Pairs of file count and file size in bytes, in list order.
Sizes = tuple[tuple[int, int], ...]


class Servers:
    def __init__(self, memory: Path, urls: dict[str, str]) -> None:
        self.memory = memory
        self.urls = urls

    def files(self, sizes: Sizes) -> Path:
        """Returns the directory with files of these sizes, created on first use."""
        directory = self.memory / "files" / "-".join(f"{count}x{size}" for count, size in sizes)
        if not directory.exists():
            directory.mkdir()
            lengths = [size for count, size in sizes for _ in range(count)]
            for number, length in enumerate(lengths, start=1):
                with (directory / f"{number:05}.bin").open("wb") as file:
                    while left := length - file.tell():
                        file.write(os.urandom(min(left, BLOCK)))
        return directory

    def lists(self, server: str, sizes: Sizes, sick: str = "", every: int = 1) -> dict[str, Path]:
        """Writes the list of their URLs, one per line, and the same as a config file for curl.

        With `sick`, the last of `every` files is served that way instead.
        """
        directory = self.files(sizes)
        urls = []
        for number, file in enumerate(sorted(directory.iterdir()), start=1):
            way = sick if sick and number % every == 0 else server
            urls.append(f"{self.urls[way]}/{directory.name}/{file.name}")
        return self.write_lists(urls)

    def write_lists(self, urls: list[str]) -> dict[str, Path]:
        lists = {"list": self.memory / "urls.txt", "curl_list": self.memory / "urls.curl"}
        lists["list"].write_text("".join(f"{url}\n" for url in urls))
        lists["curl_list"].write_text("".join(f'url = "{url}"\n' for url in urls))
        return lists

    def count(self) -> tuple[int, int]:
        """Returns how many requests the crowded server got and refused since the last call."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.urls["count"]) as response:
            count = json.load(response)
        return count["requests"], count["refused"]


@contextmanager
def running_servers(memory: Path) -> Iterator[Servers]:
    files = memory / "files"
    files.mkdir()
    # If root starts nginx, its workers run as another user.
    memory.chmod(0o755)
    http, https = free_ports()
    slow_server = [sys.executable, str(Path(__file__).with_name("slow_server.py")), str(files)]
    create_certificate(memory)
    listen = f"""
                listen 127.0.0.1:{http};
                listen 127.0.0.1:{https} ssl;
                ssl_certificate certificate.pem;
                ssl_certificate_key key.pem;"""
    with running(nginx(memory, listen)), running(slow_server) as slow:
        wait_for(http)
        slow_url = f"http://127.0.0.1:{int(slow.stdout.readline())}"
        urls = {"http": f"http://127.0.0.1:{http}", "https": f"https://127.0.0.1:{https}"}
        urls |= {way: f"{slow_url}/{way}" for way in SLOW_WAYS}
        yield Servers(memory, urls)


def create_certificate(memory: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
        + ["-keyout", memory / "key.pem", "-out", memory / "certificate.pem"],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def nginx(memory: Path, listen: str, access_log: str = "off") -> list[str]:
    """Writes the configuration, and returns the command that starts nginx."""
    # Differs from nginx's defaults: a worker per core, sendfile and enough connections, as in Debian; no request log unless
    # asked for, which would cost time for each request; no content type that would make a tool look into a file. The
    # temporary paths are writable by any user.
    configuration = f"""
        daemon off;
        worker_processes auto;
        pid nginx.pid;
        events {{ worker_connections 768; }}
        http {{
            sendfile on;
            log_format sizes '$bytes_sent $body_bytes_sent';
            access_log {access_log};
            default_type application/octet-stream;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            server {{
                {listen.strip()}
                root files;
            }}
        }}
    """
    (memory / "nginx.conf").write_text(configuration)
    return ["nginx", "-p", str(memory), "-c", "nginx.conf", "-e", "nginx.log"]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    # In a new session, so that Ctrl-C does not reach it. It is terminated below; nginx then stops its workers.
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
    sys.exit("nginx does not respond")
