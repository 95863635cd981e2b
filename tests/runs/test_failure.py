"""Why a process failed, from the end of its log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grpo_launch.base import resources
from grpo_launch.engines.swift import serve
from grpo_launch.learners.swift import outputs
from grpo_launch.plan import Signs
from grpo_launch.runs import failure

LIBRARY = "/opt/venv/lib/python3.11/site-packages/swift/rlhf_trainers/grpo_trainer.py"
TIMING = str(resources.path("engines/swift_timing/grpo_launch_timing.py"))


def traceback(error: str, *frames: tuple[str, int], before: str = "") -> str:
    lines = ["Traceback (most recent call last):"]
    for path, line in frames:
        lines += [f'  File "{path}", line {line}, in call', "    return f(x)", "           ^^^^"]
    return "".join(f"{before}{line}\n" for line in (*lines, error))


MINE = traceback("TypeError: no", (LIBRARY, 357), ("CWD/rewards/mine.py", 5))
TORCHRUN = traceback(
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    ("/opt/venv/bin/torchrun", 8),
    (LIBRARY.replace("swift", "torch"), 264),
)
NOTICE = "W1127 06:36:40.1 torch/distributed/elastic/multiprocessing/api.py:898] Sending SIGTERM\n"


def ranks(*tracebacks: str) -> str:
    """What several ranks write, line by line in turns."""
    parts = [
        "".join(f"[rank{rank}]: {line}" for line in text.splitlines(keepends=True))
        for rank, text in enumerate(tracebacks)
    ]
    lines = [part.splitlines(keepends=True) for part in parts]
    longest = max(map(len, lines))
    return "".join(part[n] for n in range(longest) for part in lines if n < len(part))


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("", ""),
        ("step 1\nstep 2\n", ""),
        (MINE, "rewards/mine.py:5 TypeError: no"),
        (MINE.replace("\n", "\r\n"), "rewards/mine.py:5 TypeError: no"),
        (f"{MINE}Train:  17%|#  | 1/6 [00:28<02:20, 28.14s/it]", "rewards/mine.py:5 TypeError: no"),
        (f"Train:  17%|#  | 1/6{MINE}", "rewards/mine.py:5 TypeError: no"),
        (f"Train:  17%|#  | 1/6{ranks(MINE)}", "rewards/mine.py:5 TypeError: no"),
        (f"{ranks(MINE)}{NOTICE}{TORCHRUN}", "rewards/mine.py:5 TypeError: no"),
        (f"{MINE}{TORCHRUN}", "rewards/mine.py:5 TypeError: no"),
        (TORCHRUN, ""),
        # The other rank loses its peer, and says so last.
        (ranks(MINE, NOTICE * 9 + traceback("RuntimeError: closed by peer", (LIBRARY, 1))),
         "rewards/mine.py:5 TypeError: no"),
        # What was caught before, and what it was raised from, is not it.
        (f"{traceback('OSError: caught', (LIBRARY, 1))}step 1\n{MINE}",
         "rewards/mine.py:5 TypeError: no"),
        ((f"{traceback('KeyError: 1', (LIBRARY, 1))}\nDuring handling of the above exception, "
         f"another exception occurred:\n\n{MINE}"), "rewards/mine.py:5 TypeError: no"),
        # Whose file: the user's, then one of no library, then the last.
        (traceback("ValueError: x", ("CWD/a.py", 1), (LIBRARY, 2)), "a.py:1 ValueError: x"),
        (traceback("ValueError: x", ("CWD/a.py", 1), ("/else/b.py", 2)), "a.py:1 ValueError: x"),
        (traceback("ValueError: x", ("a.py", 1), (LIBRARY, 2)), "a.py:1 ValueError: x"),
        (traceback("ValueError: x", ("/else/b.py", 2), (LIBRARY, 3)), "/else/b.py:2 ValueError: x"),
        (traceback("ValueError: x", ("CWD/.venv/lib/python3.11/json/decoder.py", 1), (LIBRARY, 2)),
         f"{LIBRARY}:2 ValueError: x"),
        (traceback("ValueError: x", (TIMING, 9), (LIBRARY, 2)), f"{LIBRARY}:2 ValueError: x"),
        (traceback("ValueError: x", ("<string>", 1)), "<string>:1 ValueError: x"),
        # Kinds of exceptions.
        (traceback("AssertionError", ("CWD/a.py", 1)), "a.py:1 AssertionError"),
        (traceback("AssertionError:", ("CWD/a.py", 1)), "a.py:1 AssertionError:"),
        (traceback("torch.OutOfMemoryError: CUDA out of memory. Tried", ("CWD/a.py", 1)),
         "a.py:1 torch.OutOfMemoryError: CUDA out of memory. Tried"),
        (('Traceback (most recent call last):\n  File "CWD/a.py", line 3\n    f(\n     ^\n'
         "SyntaxError: '(' was never closed\n"), "a.py:3 SyntaxError: '(' was never closed"),
        (("  + Exception Group Traceback (most recent call last):\n  |   File \"b.py\", line 1\n"
         "  | ExceptionGroup: two\n  +-+---------------- 1 ----------------\n"
         '    | Traceback (most recent call last):\n    |   File "CWD/a.py", line 3, in f\n'
         "    | ValueError: one\n    +------------------------------------\n"),
         "a.py:3 ValueError: one"),
        ("ValueError: loss is nan\n", "ValueError: loss is nan"),
        ("ValueError: loss is nan\nINFO: Error\nError\n", "ValueError: loss is nan"),
        # Nothing acts on a terminal, and nothing is endless.
        (traceback("ValueError: \x1b[31mred\x1b[0m \x07\u202e", ("CWD/a.py", 1)),
         "a.py:1 ValueError: red \\x07\\u202e"),
        (traceback("\x1b]0;title\x07ValueError: x", ("CWD/a.py", 1)), "a.py:1 ValueError: x"),
        (traceback(f"ValueError: {'x' * 9000}", ("CWD/a.py", 1)),
         f"a.py:1 ValueError: {'x' * 288}..."),
        (traceback("ValueError: key hunter2hunter2", ("CWD/a.py", 1)),
         "a.py:1 ValueError: key **************"),
    ],
)  # fmt: skip
def test_why_a_learner_failed(tmp_path: Path, log: str, why: str) -> None:
    path = tmp_path / "learner.log"
    path.write_bytes(log.replace("CWD", str(tmp_path)).encode())
    assert failure.why(path, outputs.SIGNS, 1, tmp_path, ("hunter2hunter2",)) == why


def test_an_engine_s_own_exception_is_told_and_not_that_of_its_server(tmp_path: Path) -> None:
    engine = traceback("torch.OutOfMemoryError: CUDA out of memory", (LIBRARY, 7))
    mark = "(EngineCore pid=77) ERROR 11-27 06:36:40 [core.py:832] "
    inner = "".join(f"{mark}{line}\n" for line in engine.splitlines())
    outer = traceback(
        "RuntimeError: Engine core initialization failed. See root cause above.", (LIBRARY, 9)
    )
    log = tmp_path / "server.log"
    log.write_text(inner + outer)
    told = failure.why(log, serve.SIGNS, 1, tmp_path, ())
    assert told == f"{LIBRARY}:7 torch.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize(
    ("status", "why"),
    [(137, "SIGKILL"), (143, "SIGTERM"), *((n, "a.py:1 E: x") for n in (1, 139, 255))],
)  # fmt: skip
def test_a_signal_leaves_no_traceback(tmp_path: Path, status: int, why: str) -> None:
    log = tmp_path / "x.log"
    log.write_text(traceback("E: x", (f"{tmp_path}/a.py", 1)))
    assert failure.why(log, Signs(), status, tmp_path, ()) == why
    log.write_text("")
    assert failure.why(log, Signs(), 139, tmp_path, ()) == "SIGSEGV"
    assert failure.why(tmp_path / "none", Signs(prefix="("), 1, tmp_path, ()) == ""


def test_of_a_large_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    text = traceback("E: x", ("a.py", 1)).encode()
    with open(log, "wb") as file:
        file.write(text)
        os.truncate(log, 1 << 28)  # sparse
        file.seek(1 << 28)
        file.write(b"\n" + text.replace(b"E: x", b"F: y"))
    assert failure.why(log, Signs(), 1, tmp_path, ()) == "a.py:1 F: y"
    os.truncate(log, 1 << 28)
    assert failure.why(log, Signs(), 1, tmp_path, ()) == ""
