"""Runs in the engine's environment: imports ms-swift once, and runs each program in a fork.

    python swift_forks.py < REQUESTS > ANSWERS

The first answer says how long the import took: ``{"seconds": ...}``. A request is one JSON line:

    argv                   as Python's command line has it, ["-c", CODE, ...] or [FILE, ...]
    cwd, environ           of the program
    stdin, stdout, stderr  files

and its answer the exit status, ``{"status": 0}``. A fork shares no state with the next one, so a
program may patch the classes of ms-swift as it likes.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import sys
import time
import traceback
from typing import Any

ANSWERS = os.dup(1)
os.dup2(2, 1)  # what imports print is no answer


def answer(body: dict[str, Any]) -> None:
    os.write(ANSWERS, f"{json.dumps(body)}\n".encode())


def become(request: dict[str, Any]) -> None:
    """Turn this process into that of the request."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(request[name], flags, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    os.close(ANSWERS)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.argv = request["argv"]


def run(argv: list[str]) -> int:
    try:
        if argv[0] == "-c":
            sys.argv = ["-c", *argv[2:]]
            exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    started = time.perf_counter()
    from swift.arguments import RLHFArguments, RolloutArguments  # noqa: F401

    seconds = time.perf_counter() - started
    # What the programs import, and vLLM with it.
    import swift.cli.main
    import swift.pipelines.infer.rollout
    import swift.rlhf_trainers.grpo_trainer
    import swift.rollout.multi_turn  # noqa: F401

    answer({"seconds": seconds})
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                become(request)
                status = run(request["argv"])
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        answer({"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


main()
