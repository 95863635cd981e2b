"""Files that are no experiments: one line, status 2, with little memory and processor time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_launch.config.formats.document import MAX_FILE_BYTES
from tests.conftest import Project
from tests.warm import Limits

MIB = 1 << 20
LITTLE = Limits(memory_bytes=400 * MIB, cpu_s=40)


def refusal(project: Project, *arguments: str) -> str:
    """The one line that the launcher says, with little memory and little time."""
    done = project.run(*arguments, limits=LITTLE)
    assert (done.status, done.stdout) == (2, ""), done.stderr[-2000:]
    assert done.stderr.count("\n") == 1, done.stderr[:2000]
    assert done.stderr.startswith("error: ")
    assert len(done.stderr) < 5000
    return done.stderr.removeprefix("error: ").rstrip("\n")


def laughs(path: Path) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path.write_text("\n".join(["a0: &a0 [lol, lol]", *levels]))


def merged_laughs(path: Path) -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(100))
    levels = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    path.write_text("\n".join([f"a0: &a0 {{{keys}}}", *levels]))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50 * MIB)


def link_loop(path: Path) -> None:
    path.symlink_to("other.yaml")
    path.with_name("other.yaml").symlink_to(path.name)


def write(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


CONTENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "binary": (
        lambda path: path.write_bytes(Path(sys.executable).read_bytes()[:MIB]),
        "is not YAML",
    ),
    "random bytes": (write(bytes(range(256)) * 4096), "is not YAML"),
    "zero bytes": (write(bytes(MIB)), "is not YAML"),
    "50 MB": (write(b"key: value\n" * (50 * MIB // 11)), f"more than {MAX_FILE_BYTES} is no"),
    "50 MB, sparse": (sparse, f"has {50 * MIB} bytes"),
    "billion laughs": (laughs, "expands to more than 100000 values"),
    "a list that contains itself": (write("a: &a [*a]"), "an alias contains itself"),
    "100,000 brackets": (write("a: " + "[" * 100_000), "is nested too deeply"),
    "100,000 pairs of brackets": (
        write("a: " + "[" * 100_000 + "]" * 100_000),
        "is nested too deeply",
    ),
    "100,000 braces": (write("a: " + "{a: " * 100_000), "is nested too deeply"),
    "100,000 brackets, read by PyYAML": (
        write("t: '\t'\na: " + "[" * 100_000),
        "nested too deeply",
    ),
    "100,000 dashes": (write("a:\n " + "- " * 100_000), "is nested too deeply"),
    "1,000 indents": (write("".join(f"{' ' * n}a:\n" for n in range(1000))), "nested too deeply"),
    "an integer of 1,000,000 digits": (write("a: " + "7" * MIB), f"an integer of {MIB} characters"),
    "a number of base 60": (write("a: " + "1:" * MIB + "1"), "more than"),
    "a long number of base 60": (write("a: " + "1:" * 400_000 + "1"), "an integer of 800001"),
    "a tag of 1,000,000 letters": (write("a: !" + "x" * MIB + " 1"), "constructor for the tag"),
    "terminal control": (write('"\\e[2J": {extends: 1}\nextends: "\\e[31m"'), "but"),
    "a surrogate": (write('a: "\\ud800"'), "escape"),
    "a surrogate, read by PyYAML": (write('t: "\t"\na: "\\ud800"'), "surrogates not allowed"),
    "a character beyond Unicode, read by PyYAML": (
        write('t: "\t"\na: "\\UFFFFFFFF"'),
        "is not YAML",
    ),
    "the largest file, read by PyYAML": (
        write("t: '\t'\n" + "".join(f"key{n}: a?\n" for n in range(120_000)) + "'"),
        "malformed YAML",
    ),
}
SLOW = {"the largest file, read by PyYAML"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(*content, id=name, marks=pytest.mark.slow if name in SLOW else ())
        for name, content in CONTENTS.items()
    ],
)
def test_hostile_content_is_one_line_that_names_the_file(
    project: Project, make: Callable[[Path], object], said: str
) -> None:
    make(project.directory / "configs" / "x.yaml")
    line = refusal(project, "role=check", "config=x")
    assert line.startswith("configs/x.yaml")
    assert said in line
    assert line.isprintable()


def test_a_billion_laughs_in_merge_keys_cost_neither_memory_nor_time(project: Project) -> None:
    """PyYAML takes each merged key once from 6.0.4 on; before, the file is refused."""
    merged_laughs(project.directory / "configs" / "x.yaml")
    done = project.run("role=check", "config=x", limits=LITTLE)
    assert done.status == 2
    assert "Traceback" not in done.stderr
    refused = "configs/x.yaml: expands to more than 100000 values" in done.stderr
    assert refused or "configs/x.yaml: a1: is no section" in done.stderr


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "directory": (Path.mkdir, "is a directory"),
    "pipe": (os.mkfifo, "is no regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    "link loop": (link_loop, "Too many levels of symbolic links"),
    "dangling link": (lambda path: path.symlink_to("gone.yaml"), "does not exist"),
}


@pytest.mark.parametrize(("make", "said"), NO_FILES.values(), ids=NO_FILES.keys())
def test_what_is_no_file_is_no_experiment_and_no_base(
    project: Project, make: Callable[[Path], object], said: str
) -> None:
    configs = project.directory / "configs"
    make(configs / "x.yaml")
    for name in ("x", "configs/x.yaml", str(configs / "x.yaml")):
        line = refusal(project, "role=check", f"config={name}")
        assert line.startswith(f"command line: config={name}: no such experiment, ")
    (configs / "child.yaml").write_text("extends: x.yaml\n")
    line = refusal(project, "role=check", "config=child")
    assert line == (
        f"configs/child.yaml: extends 'x.yaml', but configs/x.yaml {line.partition('x.yaml ')[2]}"
    )
    assert said in line


def test_a_device_itself_is_refused(project: Project) -> None:
    assert "no such experiment" in refusal(project, "role=check", "config=/dev/zero")
    (project.directory / "configs/x.yaml").write_text("extends: /dev/zero\n")
    said = "configs/x.yaml: extends '/dev/zero', but /dev/zero is no regular file, "
    assert refusal(project, "role=check", "config=x").startswith(said)


def test_an_unreadable_file_is_refused(project: Project) -> None:
    path = project.directory / "configs" / "x.yaml"
    path.write_text("a: 1\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    line = refusal(project, "role=check", "config=x")
    assert line.startswith("configs/x.yaml: cannot be read (Permission denied), ")


@pytest.mark.parametrize("role", ["server", "learner", "both", "check"])
def test_every_role_and_hydra_s_own_flags_refuse_alike(project: Project, role: str) -> None:
    laughs(project.directory / "configs" / "x.yaml")
    plain = refusal(project, f"role={role}", "config=x")
    assert refusal(project, f"role={role}", "config=x", "--cfg", "job") == plain


@pytest.mark.parametrize("words", [["role=both"], ["role=check"]], ids=str)
def test_an_env_file_without_an_end_is_one_line(project: Project, words: list[str]) -> None:
    done = project.run("config=exp", "env.file=/dev/zero", *words, limits=LITTLE)
    assert done.status == 3
    assert "env.file: /dev/zero cannot be read (has more than 1048576 bytes)" in done.stderr
    assert "Traceback" not in done.stderr
