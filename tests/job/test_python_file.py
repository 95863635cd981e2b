"""A Python file is run for one variable, by itself, and not for longer than its limit."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from grpo_launch.base import python_file
from grpo_launch.config.formats import python_text
from grpo_launch.errors import ConfigError, PythonFileError

NAMES = ("job", "config")


def written(directory: Path, text: str, name: str = "job.py") -> Path:
    path = directory / name
    path.write_text(text)
    return path


@pytest.mark.costly
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("job = {'a': 1}\nconfig = {'a': 2}", {"a": 1}),
        ("config = {'a': (1, 2.5, None, True)}", {"a": [1, 2.5, None, True]}),
        ("import pathlib\njob = {'a': pathlib.Path('x/y')}", {"a": "x/y"}),
        ("class Own:\n  def as_dict(self): return {'a': 1}\njob = Own()", {"a": 1}),
        ("import beside\njob = {'a': beside.A}", {"a": 7}),
        ("import sys\njob = {'a': [sys.argv, sys.stdin.read()]}", {"a": [["job.py"], ""]}),
        ("job = {'a': __name__ == '__main__'}", {"a": False}),
        ("import os\njob = {'a': os.environ['OF_THE_CALLER']}", {"a": "x"}),
        ("print('noise', flush=True)\njob = {}", {}),
        (
            "import dataclasses as d\n@d.dataclass\nclass D:\n  a: 'int'\njob = {'a': D(3).a}",
            {"a": 3},
        ),
    ],
)
def test_the_first_of_the_variables_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    text: str,
    expected: object,
) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "x")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    written(tmp_path, "A = 7\n", "beside.py")
    path = written(tmp_path, text.replace("['job.py']", f"[{str(tmp_path / 'job.py')!r}]"))
    value = python_text.parse("job.py", path)
    if "argv" in text:
        expected = {"a": [[str(path)], ""]}
    assert value == expected
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x = 1", ["job.py: sets neither job nor config, write job = Job(...), see docs/jobs.md"]),
        (
            "job = 3",
            [
                (
                    "job.py: job is 3, no job and no mapping of JSON, "
                    "write job = Job(...), see docs/jobs.md"
                )
            ],
        ),
        ("\nx = (", ["job.py:2:5: malformed Python: '(' was never closed, correct it"]),
        (
            "def f():\n    print('seen')\n    return {}['X']\n\n\njob = f()",
            [
                (
                    "job.py:3: raises KeyError: 'X', correct it\n"
                    "    seen\n"
                    "    Traceback (most recent call last):\n"
                    '      File "{path}", line 6, in <module>\n'
                    "        job = f()\n"
                )
            ],
        ),
        (
            "import sys\nsys.exit(3)",
            ["job.py:2: exits (3) before job is read, let it set job and do nothing else"],
        ),
        (
            "import os\nprint('seen', flush=True)\nos._exit(4)",
            ["job.py: ends with status 4 before job is read, correct it\n    seen"],
        ),
        (
            "import os\nos.kill(os.getpid(), 9)",
            ["job.py: ends with signal 9 before job is read, correct it"],
        ),
        (
            "from grpo_launch.job import Job\n\njob = Job('sfx', {}, {}, {'num_steps': 1})",
            [
                "job.py:3: mode: is 'sfx', write sft or rl",
                (
                    "job.py:3: model.id: is missing, "
                    "set it (a directory, or a name on the Hugging Face hub)"
                ),
                (
                    "job.py:3: data.id: is missing, "
                    "set it (a file of rows, or a name on the Hugging Face hub)"
                ),
            ],
        ),
    ],
)
def test_a_file_that_fails_is_one_error_with_its_line_and_its_output(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        python_text.parse("job.py", path)
    found = caught.value.lines()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        wanted = expected.format(path=path) if "{path}" in expected else expected
        assert line.startswith(wanted) if wanted.endswith("\n") else line == wanted
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_end_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    outcome = python_file.evaluate(written(tmp_path, text), NAMES, timeout_s=2.0)
    assert (outcome.result, outcome.status) == (None, None)
    child = int(outcome.output)
    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    path = written(tmp_path, "import time\nprint('seen', flush=True)\ntime.sleep(600)")
    monkeypatch.setattr(python_file, "TIMEOUT_S", 2.0)
    with pytest.raises(PythonFileError) as caught:
        python_text.parse("job.py", path)
    assert caught.value.lines() == [
        "job.py: does not end within 2 s, let it set job and do nothing else\n    seen"
    ]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_the_end_of_long_output_is_shown_without_control_characters(tmp_path: Path) -> None:
    text = "print('\\x1b[31m' + 'x' * 5000)\nfor i in range(99): print(i)\nimport os\n"
    path = written(tmp_path, text + "import sys; sys.stdout.flush(); os._exit(1)")
    with pytest.raises(PythonFileError) as caught:
        python_text.parse("job.py", path)
    assert caught.value.output == [str(i) for i in range(79, 99)]


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\njob = 2", 2), ("job: int = 1\njob = 2", 2), ("config = 1", 1), ("(", 1), ("", 1)],
)
def test_the_line_of_the_variable_is_seen_without_running_the_file(text: str, line: int) -> None:
    assert python_text.line(text.encode()) == line


def test_nothing_of_the_file_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    python_text.parse("job.py", written(tmp_path, "job = {}"))
    assert [*tmp_path.iterdir()] == [tmp_path / "job.py"]
    assert len(os.listdir("/proc/self/fd")) == before
