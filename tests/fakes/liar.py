"""A rollout server that lies.

    python3 -I -S liar.py PORT MODE [FILE]

Modes:
    honest    200 to everything
    moves     takes the next port when its own is busy, as ms-swift does
    redirect  sends to another path, which would answer 200
    garbage   answers with no HTTP at all
    endless   200, and a body that never ends, drop by drop
    drip      a header that never ends, drop by drop
    slow      answers after 3 s
    hollow    200 to everything, and a list of nothing where a token is asked for
    dead      health answers; as soon as FILE exists nothing is generated any more
"""

import os
import signal
import sys
import time
from _socket import SO_REUSEADDR, SOL_SOCKET, socket

PORT, MODE, *FILE = sys.argv[1:]
BODY = b'{"world_size": 1}'
USAGE = b'{"completion_tokens": 1}'
TOKEN = b'[{"response": {"choices": [{"message": {"content": "1"}}], "usage": %s}}]' % USAGE
HEAD = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\nLocation: /elsewhere\r\n\r\n"


def listen(port):
    listener = socket()
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        if MODE != "moves":
            raise
        return listen(port + 1)
    listener.listen()
    return listener


def drip(connection, text):
    while True:
        connection.sendall(text)
        time.sleep(0.05)


def answer(connection):
    request = b""
    while b"\r\n\r\n" not in request or (request[:4] == b"POST" and b"}" not in request):
        request += connection.recv(65536)
    status = b"200 OK"
    if MODE == "slow":
        time.sleep(3)
    if MODE == "garbage":
        return connection.sendall(os.urandom(2000))
    if MODE == "redirect" and b" /elsewhere " not in request:
        status = b"301 Moved"
    if MODE == "drip":
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        drip(connection, b"x")
    if MODE == "endless":
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drip(connection, b"x")
    if MODE == "dead" and request[:4] == b"POST" and os.path.exists(FILE[0]):
        status = b"500 EngineDeadError"
    body = TOKEN if request[:4] == b"POST" else BODY
    if MODE == "hollow" and body == TOKEN:
        body = b"[null]"
    return connection.sendall(HEAD % (status, len(body)) + body)


listener = listen(int(PORT))
print("listening", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    descriptor, _ = listener._accept()
    connection = socket(fileno=descriptor)
    if os.fork() == 0:
        listener.close()
        try:
            answer(connection)
        finally:
            os._exit(0)
    connection.close()
