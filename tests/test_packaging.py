"""A built wheel works as the clone does: in another directory, with the user's own experiments.

It holds what git tracks, and no private file that stands beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHIPPED = [
    "conf/config.yaml",
    "configs/base.yaml",
    "configs/train/grpo/summary_1024.yaml",
    "constraints/cpu-lock.txt",
    "data/hanabi.grpo.jsonl",
    "engines/swift_cpu/pyproject.toml",
    "engines/swift_timing/grpo_launch_timing.py",
    "examples/hanabi/hanabi_gym/episode.py",
    "examples/hanabi/plugin.py",
    "examples/summary/plugin.py",
    "scripts/setup_engine.sh",
    "scripts/train.sh",
]


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked where an installer would put it."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def build(target: str, source: Path, to: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(to)],
        cwd=source, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def built(target: str, source: Path, to: Path) -> Path:
    done = build(target, source, to)
    assert done.returncode == 0, done.stderr
    (path,) = to.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return path


SECRET = "secrets.env"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a private file in every directory."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in git(ROOT, "ls-files", "-z").split("\0")[:-1]:
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    plant(checkout)
    return checkout


def git(directory: Path, *arguments: str) -> str:
    words = ["git", "-c", "safe.directory=*", "-C", str(directory), *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def plant(tree: Path) -> None:
    directories = [path for path in tree.rglob("*") if path.is_dir() and ".git" not in path.parts]
    assert len(directories) > 50
    for directory in (tree, *directories):
        (directory / SECRET).write_text("KEY=planted")


def in_wheel(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return sorted(archive.namelist())


def in_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return sorted(name.partition("/")[2] for name in archive.getnames())


@pytest.mark.slow
def test_a_wheel_and_an_sdist_hold_tracked_files_only(
    checkout: Path, wheel: Path, sdist: Path
) -> None:
    tracked = set(git(checkout, "ls-files").splitlines())
    assert set(in_sdist(sdist)) - tracked == {"PKG-INFO", "TRACKED"}
    names = in_wheel(wheel)
    assert len(names) == len(set(names)) > 300
    sources = {
        name.replace("grpo_launch/_data/", "") for name in names if ".dist-info/" not in name
    }
    assert {name for name in sources if not {name, f"src/{name}"} & tracked} == set()


@pytest.mark.slow
def test_an_unpacked_sdist_gives_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """There is no git, and private files came to it where it was unpacked."""
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    plant(unpacked)
    assert in_wheel(built("wheel", unpacked, tmp_path)) == in_wheel(wheel)
    assert in_sdist(built("sdist", unpacked, tmp_path)) == in_sdist(sdist)


@pytest.mark.costly
@pytest.mark.parametrize("lacks", ["git", "repository"])
@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_where_nobody_knows_the_tracked_files_nothing_is_built(
    target: str, lacks: str, checkout: Path, tmp_path: Path
) -> None:
    environ = {"PATH": str(tmp_path)} if lacks == "git" else {}
    source = checkout
    if lacks == "repository":
        source = tmp_path / "copy"
        shutil.copytree(checkout, source, ignore=shutil.ignore_patterns(".git"))
    done = build(target, source, tmp_path / "dist", **environ)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {source}: cannot tell its files from private ones (")
    assert line.endswith("build in a git checkout with git installed, or from an sdist")
    assert list(tmp_path.glob("dist/*")) == []


def test_an_editable_install_needs_no_git_and_copies_nothing(
    checkout: Path, tmp_path: Path
) -> None:
    build_it = "import sys, hatchling.build as b; print(b.build_editable(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build_it, str(tmp_path)],
        cwd=checkout, env={**os.environ, "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = in_wheel(tmp_path / done.stdout.strip())
    assert [name for name in names if ".dist-info/" not in name] == ["_grpo_launch.pth"]


def launch(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-m", "grpo_launch", *arguments],
        cwd=cwd, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_everything_that_a_launch_needs_travels(site: Path) -> None:
    missing = [name for name in SHIPPED if not (site / "grpo_launch" / "_data" / name).is_file()]
    assert missing == []


@pytest.mark.slow
def test_shipped_experiments_find_their_files_from_anywhere(site: Path, tmp_path: Path) -> None:
    done = launch(site, tmp_path, "role=both", "config=summary_1024", "dry_run=true")
    assert done.returncode == 0, done.stderr
    data = site / "grpo_launch" / "_data"
    assert f"- {data}/examples/summary/dataset.jsonl" in done.stdout
    assert f"- {data}/examples/summary/plugin.py" in done.stdout
    assert f"bash {data}/scripts/train.sh swift" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_own_experiments_beside_it_come_first(site: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    shipped = site / "grpo_launch" / "_data" / "configs" / "train" / "grpo" / "summary_1024.yaml"
    (tmp_path / "configs" / "mine.yaml").write_text(f"extends: {shipped}\nmodel: {{model: mine}}\n")
    (tmp_path / "configs" / "tiny_cpu.yaml").write_text("extends: mine.yaml\n")
    for name in ("mine", "tiny_cpu"):
        done = launch(site, tmp_path, "role=server", f"config={name}", "dry_run=true")
        assert done.returncode == 0, done.stderr
        assert "swift rollout --model mine " in done.stdout


@pytest.mark.slow
def test_installed_console_script() -> None:
    script = Path(sys.executable).with_name("grpo-launch")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
