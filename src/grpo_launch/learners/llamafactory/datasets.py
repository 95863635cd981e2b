"""The data of a training: LLaMA-Factory's own names, or files, which the launcher lists for it.

LLaMA-Factory trains on data sets that ``dataset_info.json`` in ``dataset_dir`` describes
(``data/parser.py``). An entry of ``dataset`` or ``eval_dataset`` that is a file, and each of the
launcher's own mapping ``data`` (``{NAME: FILE}``, or ``{NAME: {file: FILE, ...}}`` with what else
the list may say of it), gets such a list in the run directory.

A file of which nothing else is said holds conversations, ``{"messages": [{"role", "content"}]}``,
with ``chosen`` and ``rejected`` for preferences (dpo, rm), with a boolean ``label`` for kto; for
pt, texts, ``{"text": ...}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, cast

from grpo_launch.base.shipped_files import located

DATA = "data"
"""The launcher's own key, a mapping of names to files."""

FILE = "file"
KEYS = ("dataset", "eval_dataset")
INFO = "dataset_info.json"

ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")
"""``FILEEXT2TYPE`` in ``extras/constants.py``: what LLaMA-Factory reads."""

MEMBERS = (
    *(FILE, "formatting", "ranking", "subset", "split", "folder", "num_samples", "columns", "tags"),
)
"""What an entry of ``data`` may say: ``DatasetAttr.join`` in ``data/parser.py``."""

_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_MESSAGES: Mapping[str, Any] = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": _TAGS,
}
_PAIRS = {
    **_MESSAGES,
    "ranking": True,
    "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
}
_LABELLED = {**_MESSAGES, "columns": {"messages": "messages", "kto_tag": "label"}}
_TEXTS = {"columns": {"prompt": "text"}}
_OF_STAGE: Mapping[str, Mapping[str, Any]] = {
    "dpo": _PAIRS,
    "rm": _PAIRS,
    "kto": _LABELLED,
    "pt": _TEXTS,
}


def is_file(name: Any) -> bool:
    """Whether an entry of ``dataset`` means a file, not a name of the list."""
    return isinstance(name, str) and PurePath(name).suffix.lower() in ENDINGS


def names(value: Any) -> list[str]:
    """The entries of ``dataset``, as LLaMA-Factory splits them."""
    items = cast("list[Any]", value) if isinstance(value, list) else str(value or "").split(",")
    return [name for item in items if (name := str(item).strip())]


def of_data(train: Mapping[Any, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name, file and other members of each entry of ``data`` that is a valid one."""
    data = train.get(DATA)
    for name, said in cast("dict[Any, Any]", data).items() if isinstance(data, dict) else ():
        members = cast("dict[str, Any]", said) if isinstance(said, dict) else {FILE: said}
        if isinstance(members.get(FILE), str):
            yield str(name), members[FILE], {k: v for k, v in members.items() if k != FILE}


def files(train: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """The key of each file, and the file."""
    named = ((key, name) for key in KEYS for name in names(train.get(key)) if is_file(name))
    return [*named, *((f"{DATA}.{name}", file) for name, file, _ in of_data(train))]


def resolved(
    train: Mapping[Any, Any], stage: str, directory: str, cwd: Path
) -> tuple[dict[str, str], str | None]:
    """What the arguments say of the data, and the text of the list of data sets.

    Args:
        train: the experiment; its ``data`` is not passed on.
        stage: of the training.
        directory: where the list will be.
        cwd: what the files are relative to.

    Returns:
        Arguments that replace those of the experiment, and the text; None where the experiment
        names no file.
    """
    if not files(train):
        return {}, None
    info: dict[str, Any] = {}
    for name, file, members in of_data(train):
        info[name] = entry(file, members, stage, cwd)
    own, chosen = [*info], dict[str, list[str]]()
    for key in KEYS:
        chosen[key] = names(train.get(key))
        for index, file in enumerate(chosen[key]):
            if is_file(file):
                chosen[key][index] = name = _free(PurePath(file).stem, info)
                info[name] = entry(file, {}, stage, cwd)
    if not chosen["dataset"]:
        chosen["dataset"] = [name for name in own if name not in chosen["eval_dataset"]]
    arguments = {key: ",".join(said) for key, said in chosen.items() if said}
    text = json.dumps(info, indent=2, ensure_ascii=False) + "\n"
    return {**arguments, "dataset_dir": directory}, text


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """``name`` without commas, which separate names, and with a number where it is taken."""
    name = name.replace(",", "_")
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def entry(file: str, members: Mapping[str, Any], stage: str, cwd: Path) -> dict[str, Any]:
    """What the list says of a file; one that says its ``formatting`` says all of it."""
    usual = _OF_STAGE.get(stage, _MESSAGES)
    if "formatting" in members:
        usual = {key: value for key, value in usual.items() if key == "ranking"}
    path = str(cwd / str(located("dataset", file, cwd)))
    return {"file_name": path, **usual, **members}


def described(file: str, *, images: bool = False) -> dict[str, str]:
    """The list of data sets for a directory whose only one is ``file``, by the list's name.

    Args:
        file: its name; it holds conversations.
        images: whether its rows have paths in ``images``.
    """
    columns = {"messages": "messages", **({"images": "images"} if images else {})}
    info = {PurePath(file).stem: {"file_name": file, **_MESSAGES, "columns": columns}}
    return {INFO: json.dumps(info, indent=2, ensure_ascii=False) + "\n"}
