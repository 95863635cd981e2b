"""A side process for tests: an HTTP server that is ready once a file is there.

    judge.py PORT FILE [stubborn]

Until ``FILE`` exists, it answers 503. A stubborn one ignores SIGTERM.
"""

from __future__ import annotations

import http.server
import os
import signal
import sys


class _Judge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health?deep=1" and os.path.exists(FILE) else 503)
        self.end_headers()


PORT, FILE, *BEHAVIOURS = sys.argv[1:]
if "stubborn" in BEHAVIOURS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("devices", repr(os.environ["CUDA_VISIBLE_DEVICES"]), "K", os.environ.get("K"), flush=True)
with http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), _Judge) as server:
    server.serve_forever()
