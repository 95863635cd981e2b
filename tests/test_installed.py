"""What is installed for an interpreter, read from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.runtimes import installed
from tests.flags.environments import BASE, SITE, conda, lay_out, venv


def test_a_virtual_environment_sees_itself_alone(tmp_path: Path) -> None:
    python = venv(tmp_path / "env")
    (tmp_path / "home/.local" / SITE).mkdir(parents=True)
    roots = installed.roots(python, {"HOME": str(tmp_path / "home")})
    assert roots == (tmp_path / "env" / SITE,)


def test_one_that_sees_the_system_comes_before_the_user_and_the_base(tmp_path: Path) -> None:
    python = venv(tmp_path / "env", system=True)
    user = tmp_path / "home/.local" / SITE
    user.mkdir(parents=True)
    roots = installed.roots(python, {"HOME": str(tmp_path / "home")})
    assert roots[:2] == (tmp_path / "env" / SITE, user)
    assert BASE.parent.parent / SITE in roots


def test_conda_and_pythonpath(tmp_path: Path) -> None:
    python = conda(tmp_path / "env")
    roots = installed.roots(python, {"PYTHONPATH": f"{tmp_path}/clone:"})
    assert roots == (tmp_path / "clone", tmp_path / "env" / SITE)


def test_versions_by_any_spelling(tmp_path: Path) -> None:
    names = ("ms_swift-4.6.0.dist-info", "torch-2.1.0+cu121-py3.11.egg-info",
             "Flash.Attn-2.8.dist-info", "torchvision-0.1.dist-info", "no-dist-info")  # fmt: skip
    for name in names:
        (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "b/ms_swift-3.0.dist-info").mkdir(parents=True)
    wanted = ["ms-swift", "torch", "flash-attn", "vllm"]
    assert installed.versions([tmp_path / "gone", tmp_path / "a", tmp_path / "b"], wanted) == {
        "Flash.Attn": "2.8",
        "ms_swift": "4.6.0",
        "torch": "2.1.0+cu121",
    }


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"eng/__init__.py": "__version__ = '1.2'"}, "1.2"),
        ({"eng/__init__.py": "", "eng/version.py": '__version__="1.3.dev0"\n'}, "1.3.dev0"),
        ({"eng/__init__.py": "__version__ = read()", "eng_ine-1.4.dist-info/RECORD": ""}, "1.4"),
        ({"eng_ine-1.4.dist-info/RECORD": ""}, "1.4"),
        ({"eng/__init__.py": "", "eng/_version.py": "__version__ = version = '1.5'\n"}, "1.5"),
        ({"eng/__init__.py": ""}, None),
        ({"eng/version.py": "__version__ = '1.2'"}, None),
        ({}, None),
    ],
)
def test_the_version_of_a_package(
    tmp_path: Path, files: dict[str, str], version: str | None
) -> None:
    lay_out(tmp_path, files)
    assert installed.version([tmp_path], "eng", "eng-ine") == version
