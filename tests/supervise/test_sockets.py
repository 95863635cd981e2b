"""Who listens on a port, asked of /proc with real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from grpo_launch.supervise import sockets
from tests.conftest import free_port

LISTEN = (
    "import socket, sys; server = socket.create_server(('127.0.0.2', int(sys.argv[1])));"
    "print(flush=True); sys.stdin.read()"
)


@pytest.fixture
def neighbour() -> Iterator[tuple[int, int]]:
    """Pid and port of a process that listens on 127.0.0.2, where that is an address."""
    port = free_port()
    words = [sys.executable, "-c", LISTEN, str(port)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process.pid, port
        assert process.stdin is not None
        process.stdin.close()


def test_two_processes_with_one_port_on_two_addresses(neighbour: tuple[int, int]) -> None:
    pid, port = neighbour
    with socket.create_server(("127.0.0.1", port)):
        assert sockets.listener(port, "127.0.0.1") == os.getpid()
        assert sockets.listener(port, "127.0.0.2") == pid
        assert sockets.listener(port, "127.0.0.3") is None
        assert sockets.listener(port) in (pid, os.getpid())
        assert sockets.user_of(port, "127.0.0.2") == os.geteuid()
        assert sockets.ports_of([pid]) == [port]


def test_all_addresses_are_each_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        assert sockets.listener(port, "127.0.0.1") == os.getpid()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_both_families_at_once() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        assert sockets.listener(port, "127.0.0.1") == os.getpid()
        assert sockets.listener(port, "::1") == os.getpid()


def test_nobody_listens() -> None:
    port = free_port()
    assert sockets.listener(port) is None
    assert sockets.user_of(port) is None
    assert not sockets.is_listened_on(port)
