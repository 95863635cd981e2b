"""The program behind the learner ``counter``."""

import http.client
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Train on nothing, one request a step."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    said = {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}
    output, steps = Path(said["output_dir"]), said["max_steps"]
    checkpoint = said.get("resume_from_checkpoint")
    first = json.loads(Path(checkpoint, "state.json").read_text())["step"] + 1 if checkpoint else 1
    output.mkdir(parents=True, exist_ok=True)
    server = http.client.HTTPConnection("127.0.0.1", said["port"][0])
    with (output / "steps.jsonl").open("a", encoding="utf-8") as log:
        for step in range(first, steps + 1):
            began = time.monotonic()
            server.request("POST", "/generate", json.dumps({"prompt": str(step)}))
            completion = json.load(server.getresponse())["completion"]
            row = {"step": step, "of": steps, "reward": int(completion) / steps}
            row["seconds"] = time.monotonic() - began
            print(json.dumps(row), file=log, flush=True)
            print(f"step {step} of {steps}", flush=True)
    directory = output / f"checkpoint-{steps}"
    directory.mkdir(exist_ok=True)
    (directory / "weights.bin").write_bytes(bytes(8))
    (directory / "state.json").write_text(json.dumps({"step": steps}), encoding="utf-8")


if __name__ == "__main__":
    main()
