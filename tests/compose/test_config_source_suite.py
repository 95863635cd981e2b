"""Hydra's own conformance suite for config sources, run on ours.

The suite lays its configs out from the root of a source, in groups of any depth.
``ExperimentSource`` mounts one flat directory as the group ``config``, adds the
node ``experiment``, and wraps a file without a header in ``train``. ``Mounted``
undoes these three and nothing else: every answer comes from an
``ExperimentSource`` of the directory that the suite's path names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from hydra.test_utils.config_source_common_tests import ConfigSourceTestSuite
from legacy_reference import Files, write
from omegaconf import OmegaConf

from grpo_launch.config.formats import leaves
from grpo_launch.config.hydra import source
from grpo_launch.config.hydra.source import ExperimentSource

TREE: Files = {
    "primary_config.yaml": "foo: bar\n",
    "primary_config_with_non_global_package.yaml": "# @package foo\nbar: 1\n",
    "config_without_group.yaml": "group: false\n",
    "config_with_unicode.yaml": "group: 数据库\n",
    "config_with_defaults_list.yaml": "defaults:\n  - dataset: imagenet\n\nkey: value\n",
    "configs_with_defaults_list/global_package.yaml": (
        "# @package _global_\ndefaults:\n  - foo: bar\nx: 10\n"
    ),
    "configs_with_defaults_list/group_package.yaml": (
        "# @package _group_\ndefaults:\n  - foo: bar\nx: 10\n"
    ),
    "dataset.yaml": "dataset: overlaps with a group\n",
    "dataset/cifar10.yaml": "name: cifar10\npath: /datasets/cifar10\n",
    "dataset/imagenet.yaml": "name: imagenet\npath: /datasets/imagenet\n",
    "level1/level2/nested1.yaml": "l1_l2_n1: true\n",
    "level1/level2/nested2.yaml": "l1_l2_n2: true\n",
    "optimizer/adam.yaml": "type: adam\nlr: 0.1\nbeta: 0.01\n",
    "optimizer/nesterov.yaml": "type: nesterov\nlr: 0.001\n",
    "package_test/none.yaml": "foo: bar\n",
    "package_test/explicit.yaml": "# @package a.b\nfoo: bar\n",
    "package_test/global.yaml": "# @package _global_\nfoo: bar\n",
    "package_test/group.yaml": "# @package _group_\nfoo: bar\n",
    "package_test/group_name.yaml": "# @package foo._group_._name_\nfoo: bar\n",
    "package_test/name.yaml": "# @package _name_\nfoo: bar\n",
}


class Mounted(ExperimentSource):
    """Each directory below the root as a group of its own."""

    def _at(self, group: str) -> ExperimentSource:
        return ExperimentSource(self.provider, f"{self.scheme()}://{Path(self.path, group)}")

    def _split(self, config_path: str) -> tuple[ExperimentSource, str]:
        group, _, name = config_path.rpartition("/")
        return self._at(group), f"{source.GROUP}/{name}"

    def is_group(self, config_path: str) -> bool:
        inner = self._at(config_path)
        return inner.available() and inner.is_group(source.GROUP)

    def is_config(self, config_path: str) -> bool:
        inner, name = self._split(config_path)
        return inner.is_config(name)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        below = Path(self.path, config_path).iterdir()
        groups = {path.name for path in below if path.is_dir()}
        if results_filter == ObjectType.CONFIG:
            groups = set()
        return sorted(groups.union(self._at(config_path).list(source.GROUP, results_filter)))

    def load_config(self, config_path: str) -> ConfigResult:
        inner, name = self._split(config_path)
        found = inner.load_config(config_path=name)
        plain = OmegaConf.to_container(found.config)
        assert isinstance(plain, dict)
        assert plain.pop("experiment")["name"] == name.partition("/")[2]
        if source.is_native(Path(self.path, f"{config_path}.yaml")):
            return ConfigResult(found.provider, found.path, OmegaConf.create(plain), found.header)
        assert plain.pop("defaults") == ["_self_"]
        assert found.header == {"package": "_global_"}
        assert list(plain) == ["train"]
        train = OmegaConf.create(leaves.decode(plain["train"]))
        return ConfigResult(found.provider, found.path, train, {"package": None})


@pytest.fixture
def type_() -> type[ExperimentSource]:
    return Mounted


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a source looks in the working directory last
    write(tmp_path / "tree", TREE)
    return f"{ExperimentSource.scheme()}://{tmp_path / 'tree'}"


class TestExperimentSource(ConfigSourceTestSuite):
    """The whole suite, nothing skipped."""


# The mount itself, which the suite cannot see


def test_experiments_are_the_one_group_of_a_source(path: str) -> None:
    mounted = ExperimentSource("test", path)
    assert [mounted.is_group(name) for name in ("", "config")] == [True, True]
    assert [mounted.is_group(n) for n in ("dataset", "config/dataset", "primary_config")] == [
        False
    ] * 3
    assert mounted.list("", ObjectType.GROUP) == mounted.list("", None) == ["config"]
    assert mounted.list("", ObjectType.CONFIG) == []
    assert mounted.list("config", ObjectType.GROUP) == mounted.list("dataset", None) == []
    names = sorted(Path(name).stem for name in TREE if "/" not in name)
    assert mounted.list("config", ObjectType.CONFIG) == mounted.list("config", None) == names


def test_names_outside_the_group_are_not_found(path: str) -> None:
    mounted = ExperimentSource("test", path)
    for name in ("", "primary_config", "dataset/imagenet", "config", "config/", "config/nope"):
        assert not mounted.is_config(name)
        with pytest.raises(ConfigLoadError, match=r"no experiment .* in experiments://"):
            mounted.load_config(config_path=name)
    assert mounted.is_config("config/dataset/imagenet")


def test_a_file_without_a_header_becomes_train_and_a_native_file_stays(path: str) -> None:
    mounted = ExperimentSource("test", path)
    directory = Path(mounted.path)

    def loaded(name: str) -> tuple[dict[str, str | None], Any]:
        result = mounted.load_config(config_path=f"config/{name}")
        return result.header, OmegaConf.to_container(result.config)

    identity = {"name": "none", "path": str(directory / "package_test/none.yaml")}
    wrapped = {"defaults": ["_self_"], "experiment": identity, "train": {"foo": "bar"}}
    assert loaded("package_test/none") == ({"package": "_global_"}, wrapped)
    identity = {"name": "explicit", "path": str(directory / "package_test/explicit.yaml")}
    native = {"foo": "bar", "experiment": identity}
    assert loaded("package_test/explicit") == ({"package": "a.b"}, native)
