"""vLLM's server at the process boundary, for loops: it answers by the weights that it has loaded.

    python -I -S vllm_server.py --model DIRECTORY --host HOST --port PORT [...]

A model is a directory with ``config.json``, ``tokenizer.json`` and ``model.safetensors``, whose
tensors ``counter`` and ``step`` say how many updates made it, and with how many steps the last one.
Chats are answered with ``version COUNTER step STEP``; FAKE_SERVER_S is how long that takes. Behind
it is an engine, a child with vLLM's title: without it requests get 500, and the server ends with 0.

What is no whole model is refused, and said in FAKE_MARKS, a file. FAKE_SERVER names what goes
wrong, of those in FAULTS; the file FAKE_MARKS.spent says that it has gone wrong once.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

TITLE = "VLLM::EngineCore"
FAULTS = ("", "dies_once", "no_reload", "stubborn")
FILES = ("config.json", "tokenizer.json", "model.safetensors")
PAUSE_S = float(os.environ.get("FAKE_SERVER_S", "0.02"))
MARKS = Path(os.environ.get("FAKE_MARKS", "/dev/null"))
FAULT = os.environ.get("FAKE_SERVER", "")


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def mark(text):
    with open(MARKS, "a") as file:
        file.write(f"{text}\n")


def loaded(directory):
    """The counter and the step of a model, which must be whole."""
    try:
        for name in FILES:
            content = Path(directory, name).read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        body = content[8 + length :]
        if len(body) != max(entry["data_offsets"][1] for entry in header.values()):
            raise ValueError("a part of a file")
        values = {name: header[name]["data_offsets"][0] for name in ("counter", "step")}
        return tuple(struct.unpack_from("<q", body, at)[0] for at in values.values())
    except (OSError, ValueError, KeyError, struct.error) as error:
        mark(f"no whole model: {directory}: {type(error).__name__}: {error}")
        raise


class Engine:
    """What the server stands before."""

    def __init__(self, directory):
        self.weights = loaded(directory)
        self.version = "default"
        self.going_on = threading.Event()
        self.going_on.set()
        self.pid = os.posix_spawn("/bin/sleep", [TITLE, "100000"], os.environ)
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        os.waitpid(self.pid, 0)
        self.pid = 0
        print("EngineCore died", flush=True)
        time.sleep(2)
        os._exit(0)

    @property
    def text(self):
        return "version {} step {}".format(*self.weights)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0

    def do_GET(self):
        if self.path == "/health":
            self.answer(200 if ENGINE.pid else 503, {})
        elif self.path == "/v1/models":
            self.answer(200, {"data": [{"id": option("--served-model-name")}]})
        else:
            self.answer(404, {})

    def do_POST(self):
        address = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        step = getattr(self, address.path.strip("/").replace("/", "_"), None)
        if not ENGINE.pid:
            self.answer(500, {"error": {"message": "EngineDeadError"}})
        elif step is None:
            self.answer(404, {})
        else:
            try:
                self.answer(200, step(body))
            except (OSError, ValueError, KeyError, struct.error) as error:
                self.answer(500, {"error": {"message": str(error)}})

    def v1_chat_completions(self, body):
        ENGINE.going_on.wait()
        Handler.served += 1
        if FAULT == "dies_once" and Handler.served == 14 and not os.path.exists(f"{MARKS}.spent"):
            Path(f"{MARKS}.spent").touch()
            os.kill(ENGINE.pid, signal.SIGKILL)
        time.sleep(PAUSE_S)
        message = {"role": "assistant", "content": ENGINE.text}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    def v1_completions(self, body):
        found = {"tokens": ["token_id:5"], "token_logprobs": [-float(1 + ENGINE.weights[0])]}
        return {"choices": [{"text": "x", "logprobs": found}], "usage": {"completion_tokens": 1}}

    def pause(self, body):
        ENGINE.going_on.clear()
        return {"status": "paused"}

    def collective_rpc(self, body):
        if FAULT == "no_reload":
            raise ValueError("the weights do not fit")
        ENGINE.weights = loaded(body["kwargs"]["weights_path"])
        return {"results": [None]}

    def reset_prefix_cache(self, body):
        return {"success": True}

    def update_weight_version(self, body):
        ENGINE.version = body["new_version"]
        return {"success": True}

    def resume(self, body):
        ENGINE.going_on.set()
        return {"status": "resumed"}

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        """A client that is gone is no error."""


assert FAULT in FAULTS, FAULT
ENGINE = Engine(option("--model"))
if FAULT == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
print(f"serving {option('--model')}: {ENGINE.text}", flush=True)
Server((option("--host"), int(option("--port"))), Handler).serve_forever()
