"""A server that takes new weights as vLLM's development mode does, or fails at it.

    python3 -I -S reloading.py DIRECTORY [STEP=FAULT ...]

It prints its port. A prompt's log-probability comes from the bytes of DIRECTORY's weights, and is
kept until the prefix cache is reset. While it is paused, prompts wait. ``GET /state`` tells all.

Steps: pause, load, reset, version, resume, probe. A fault may be followed by ``+N``: it begins
after N good answers; it goes on for ever, or with ``*N`` for N requests. Faults:
    STATUS    this status and a JSON object with an error
    html      200 and a page
    error     200 and a JSON object with an error
    list      200 and a JSON list
    empty     200 and nothing
    slow      it takes a second
    hang      no answer
    drip      an answer that never ends, drop by drop
    huge      200 and 100 MB
    reset     the connection is closed
    garbage   what is no HTTP
    redirect  to another path, which would be right
    die       the server is gone, without an answer
    nan       200 and a log-probability that is no number
    silent    200 and the right answer, but nothing is done
"""

import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

STEPS = {
    "/pause": "pause",
    "/collective_rpc": "load",
    "/reset_prefix_cache": "reset",
    "/update_weight_version": "version",
    "/resume": "resume",
    "/v1/completions": "probe",
}
ANSWERS = {
    "pause": {"status": "paused"},
    "load": {"results": [None, None]},
    "reset": {"success": True},
    "version": {"success": True, "new_version": "x"},
    "resume": {"status": "resumed"},
}
FAULT = re.compile(r"(\w+?)(?:\+(\d+))?(?:\*(\d+))?")


class Served:
    def __init__(self, directory, faults):
        self.directory = directory
        self.version = "default"
        self.mode = ""
        self.asked = []
        self.headers = {}
        self.cache = {}
        self.going_on = threading.Event()
        self.going_on.set()
        self.faults = faults

    def fault(self, step):
        count = sum(asked == step for asked in self.asked)
        self.asked.append(step)
        name, after, times = FAULT.fullmatch(self.faults.get(step, "none")).groups()
        begun = count - int(after or 0)
        return name if begun >= 0 and (times is None or begun < int(times)) else "none"

    def do(self, step, query, body):
        if step == "pause":
            self.going_on.clear()
            self.mode = query["mode"][0]
        elif step == "load":
            assert body["method"] == "reload_weights"
            self.directory = body["kwargs"]["weights_path"]
        elif step == "reset":
            self.cache.clear()
        elif step == "version":
            self.version = body["new_version"]
        elif step == "resume":
            self.going_on.set()
        if step != "probe":
            return ANSWERS[step]
        self.going_on.wait()
        weights = Path(self.directory, "model.safetensors").read_bytes()
        now = -int.from_bytes(hashlib.sha256(weights).digest()[:2], "big") / 1000
        logprob = self.cache.setdefault(json.dumps(body["prompt"]), now)
        found = {"tokens": ["token_id:5", "token_id:6"], "token_logprobs": [logprob, -1]}
        return {"choices": [{"text": "x", "logprobs": found}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = ("directory", "version", "mode", "asked", "headers")
        state = {name: getattr(SERVED, name) for name in told}
        self.answer(200, {**state, "paused": not SERVED.going_on.is_set()})

    def do_POST(self):
        address = urlsplit(self.path)
        SERVED.headers = dict(self.headers)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        step = STEPS.get(address.path)
        fault = SERVED.fault(step) if step else "404"
        if fault == "slow":
            time.sleep(1)
        if fault in ("none", "slow"):
            return self.answer(200, SERVED.do(step, parse_qs(address.query), body))
        if fault.isdecimal():
            return self.answer(int(fault), {"error": {"message": "not today"}})
        return getattr(self, fault)(step)

    def answer(self, status, body, kind="application/json"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def html(self, step):
        self.answer(200, b"<html>It works!</html>", "text/html")

    def error(self, step):
        self.answer(200, {"error": {"message": "not today"}})

    def list(self, step):
        self.answer(200, [1])

    def empty(self, step):
        self.answer(200, b"")

    def hang(self, step):
        time.sleep(600)

    def drip(self, step):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            time.sleep(0.05)

    def huge(self, step):
        self.answer(200, b" " * 100_000_000)

    def reset(self, step):
        self.close_connection = True

    def garbage(self, step):
        self.wfile.write(os.urandom(2000))
        self.close_connection = True

    def redirect(self, step):
        self.send_response(307)
        self.send_header("Location", "/state")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def die(self, step):
        os.kill(os.getpid(), signal.SIGKILL)

    def nan(self, step):
        found = {"tokens": ["a"], "token_logprobs": [float("nan")]}
        self.answer(200, {"choices": [{"text": "x", "logprobs": found}]})

    def silent(self, step):
        self.answer(200, ANSWERS[step])

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that has seen enough is no error."""


SERVED = Served(sys.argv[1], dict(word.split("=") for word in sys.argv[2:]))
with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
