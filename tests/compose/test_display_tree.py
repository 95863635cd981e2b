"""The display nodes that `--info defaults-tree` shows for an experiment's bases."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.plugins.config_source import ConfigLoadError
from legacy_reference import Files, write

from grpo_launch.config.compose import compose
from grpo_launch.config.formats import extends
from grpo_launch.config.hydra.source import ExperimentSource

Tree = dict[str, list[str]]


def display(directory: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The nodes of the first file: their names, and the names that each lists below it."""
    path = write(directory, files)
    monkeypatch.chdir(directory)
    source = ExperimentSource("test", f"experiments://{directory}")
    name = f"config/{path.stem}"
    defaults = source.load_config(config_path=name).config["defaults"]
    tree = {name: [d[1:] for d in defaults if isinstance(d, str) and d.startswith("/")]}
    queue = list(tree[name])
    while queue:
        node = queue.pop(0)
        assert node not in tree
        assert source.is_config(node)
        tree[node] = [d[1:] for d in source.load_config(config_path=node).config["defaults"]]
        queue += tree[node]
    return tree


CASES: dict[str, tuple[Files, Tree]] = {
    "no base": ({"x.yaml": "a: 1\n"}, {"config/x": []}),
    "a chain": (
        {"x.yaml": "extends: b.yaml\n", "b.yaml": "extends: sub/c.yaml\n", "sub/c.yaml": ""},
        {
            "config/x": ["extends/b.yaml"],
            "extends/b.yaml": ["extends/sub/c.yaml"],
            "extends/sub/c.yaml": [],
        },
    ),
    "two bases, in order": (
        {"x.yaml": "extends: [b.yaml, c.yaml]\n", "b.yaml": "", "c.yaml": ""},
        {
            "config/x": ["extends/b.yaml", "extends/c.yaml"],
            "extends/b.yaml": [],
            "extends/c.yaml": [],
        },
    ),
    "a repeated base is distinct and childless": (
        {
            "x.yaml": "extends: [b.yaml, c.yaml, b.yaml]\n",
            "b.yaml": "extends: root.yaml\n",
            "c.yaml": "extends: root.yaml\n",
            "root.yaml": "",
        },
        {
            "config/x": ["extends/b.yaml", "extends/c.yaml", "extends/b.yaml (again 1)"],
            "extends/b.yaml": ["extends/root.yaml"],
            "extends/c.yaml": ["extends/root.yaml (again 1)"],
            "extends/b.yaml (again 1)": [],
            "extends/root.yaml": [],
            "extends/root.yaml (again 1)": [],
        },
    ),
    "names are escaped": (
        {
            "x.yaml": "extends: ['a@b.yaml', '${c}.yaml', '%40.yaml', 'd e.yaml']\n",
            "a@b.yaml": "",
            "${c}.yaml": "",
            "%40.yaml": "",
            "d e.yaml": "",
        },
        {
            "config/x": [
                "extends/a%40b.yaml",
                "extends/%24{c}.yaml",
                "extends/%2540.yaml",
                "extends/d e.yaml",
            ],
            "extends/a%40b.yaml": [],
            "extends/%24{c}.yaml": [],
            "extends/%2540.yaml": [],
            "extends/d e.yaml": [],
        },
    ),
}


@pytest.mark.parametrize(("files", "wanted"), CASES.values(), ids=CASES.keys())
def test_the_chain_of_bases_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files, wanted: Tree
) -> None:
    assert display(tmp_path, files, monkeypatch) == wanted


def test_a_base_outside_the_working_directory_is_shown_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"out.yaml": ""})
    tree = display(tmp_path / "in", {"x.yaml": f"extends: {tmp_path}/out.yaml\n"}, monkeypatch)
    assert tree["config/x"] == [f"extends{tmp_path}/out.yaml"]


def ladder(levels: int) -> Files:
    """Each of two files on a level extends both of the level below: 2**levels paths."""
    files: Files = {"x.yaml": "extends: [l0.yaml, r0.yaml]\n"}
    for level in range(levels):
        bases = f"extends: [l{level + 1}.yaml, r{level + 1}.yaml]\n" if level < levels - 1 else ""
        files[f"l{level}.yaml"] = f"{bases}a: {{l{level}: 1, s: l{level}}}\n"
        files[f"r{level}.yaml"] = f"{bases}a: {{r{level}: 1, s: r{level}}}\n"
    return files


def test_a_ladder_of_diamonds_does_not_grow_exponentially(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = 14
    tree = display(tmp_path, ladder(levels), monkeypatch)
    assert len(tree) == 1 + 2 + 4 * (levels - 1)  # the experiment, two bases, four on each rung


def test_each_file_of_a_ladder_is_merged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ladder(14))
    read: list[Path] = []
    original = extends._read

    def counting(file: Path) -> object:
        read.append(file)
        return original(file)

    monkeypatch.setattr(extends, "_read", counting)
    data = extends.load(path).data
    assert sorted(file.name for file in read) == sorted(ladder(14))
    assert data["a"]["s"] == "r0"
    assert len(data["a"]) == 29


@pytest.mark.slow
def test_a_deep_ladder_composes(tmp_path: Path) -> None:
    path = write(tmp_path, ladder(14))
    assert compose(str(path)).train["a"]["s"] == "r0"


def test_a_name_that_is_neither_experiment_nor_display_node_is_no_config(tmp_path: Path) -> None:
    write(tmp_path, {"x.yaml": ""})
    source = ExperimentSource("test", f"experiments://{tmp_path}")
    assert not source.is_config("extends/b.yaml")
    with pytest.raises(ConfigLoadError, match="no experiment config/nope in "):
        source.load_config(config_path="config/nope")
