"""Serves nothing: answers every prompt with itself, as an OpenAI-compatible server would.

It stands for a server that grpo_launch has no engine for.

    python serve.py --host 127.0.0.1 --port 8124 --model some/model
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main() -> None:
    """Answer until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = {"object": "list", "data": [{"id": arguments.model}], "count": 1}
            self._answer({"/health": {}, "/v1/models": models}.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = str(body.get("prompt", ""))
            answer = {"choices": [{"text": prompt}], "usage": {"completion_tokens": 1}}
            self._answer(answer if self.path == "/v1/completions" else None)

        def _answer(self, body: object) -> None:
            text = json.dumps(body).encode()
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
