"""What a program gets of its file of arguments is what the planned file gives it."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from grpo_launch.config import compose
from grpo_launch.errors import ConfigError
from grpo_launch.planning import devices, planner
from tests.effort import costly
from tests.importing.imports import Imported, imported

LLAMAFACTORY = "model_name_or_path: some/model\nstage: sft\ndataset: d\noutput_dir: out\n"
SWIFT = "model: some/model\ndataset: d\noutput_dir: out\nrlhf_type: dpo\n"
STARTS = {
    "llamafactory": ("llamafactory-cli train t.yaml\n", LLAMAFACTORY),
    "swift": ("swift rlhf t.yaml\n", SWIFT),
}

ODD = (
    *("yes", "no", "on", "off", "y", "True", "1_000", "0o17", "010", "0x1F", "1:30", "1:30.5"),
    *(".inf", "-.inf", ".nan", "nan", "1e-5", "1e5", "1.5e3", "1.0e-5", "-1", "+1", "-1.5", "1."),
    *("''", '""', "über", "'日本'", "' a'", "'a '", "'a # b'", "'a: b'", "'#'", "'-x'", "--x"),
    *(
        "'null'",
        "'~'",
        "'true'",
        "'1'",
        "'1.10'",
        "'1_000'",
        "'2024-01-01'",
        "2024-01-01",
        "'?'",
        "'='",
    ),
    *("'{a: b}'", "'[a, b]'", "'a\\b'", '"a\\tb"', '"a\\nb \\n\\n c"', "'@a'", "'%a'", "'!a'"),
    *('"\\u2028x"', f"'{'long ' * 60}'", "|\n  def f():\n    return 1\n", "'*'", "'<<'"),
    *("{a: 1, b: [x, {c: null}]}", "{1: a}", "{a: 1.0}", "[a, b]", "[1, a, 1.5]", "['']", "{}"),
)


def of_program(learner: str, text: str) -> Mapping[str, Any]:
    """What a program gets of a file, by argument.

    Of LLaMA-Factory data (``read_args`` in ``hparams/parser.py``), of ms-swift words
    (``parse_yaml_args`` in ``swift/cli/main.py``).
    """
    if learner == "llamafactory":
        return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(text)))
    words: dict[str, Any] = {}
    for key, value in yaml.safe_load(text).items():
        if key == "ENV":  # variables
            continue
        if isinstance(value, list):
            words[key] = [str(item) for item in cast("list[Any]", value)]
        elif isinstance(value, dict):
            words[key] = [json.dumps(value, ensure_ascii=False)]
        else:
            words[key] = [str(value)]
    return words


def planned(directory: Path, result: Imported) -> str:
    """The file of arguments that the plan of an import writes; empty: it starts a command."""
    path = directory / "made.yaml"
    path.write_text(result.text, encoding="utf-8")
    config = compose.compose(str(path), ["role=learner"], {})
    split = devices.assign(config, ["0"])
    files = planner.build(config, split, ("learner",), "runs/x", directory).files
    return files[0].text if files else ""


def arrives(directory: Path, learner: str, more: str) -> Imported:
    """Import a file with more keys; what is claimed to be equal arrives at the program."""
    script, text = STARTS[learner]
    (directory / "t.yaml").write_text(text + more, encoding="utf-8")
    result = imported(directory, {"s.sh": script})
    assert result.status in (0, 1)
    if result.status == 0 and (file := planned(directory, result)):
        before, after = of_program(learner, text + more), of_program(learner, file)
        same = {key: repr(after.get(key, "not given")) for key in before}
        assert same == {key: repr(value) for key, value in before.items()}
    return result


@pytest.mark.parametrize("name", ["t.yaml", "s.sh"])
@pytest.mark.parametrize("null", ["null", "~", ""])
def test_null_stays_null_in_a_file_for_llamafactory(tmp_path: Path, name: str, null: str) -> None:
    files = {
        "t.yaml": f"{LLAMAFACTORY}resume_from_checkpoint: {null}\n",
        "s.sh": "llamafactory-cli train t.yaml\n",
    }
    for other, text in files.items():
        (tmp_path / other).write_text(text, encoding="utf-8")
    result = imported(tmp_path, {name: files[name]})
    assert (result.status, result.verdict) == (0, "proven equal: 5 flags, 0 variables")
    assert result.keys["resume_from_checkpoint"] is None
    assert yaml.safe_load(planned(tmp_path, result))["resume_from_checkpoint"] is None


def test_a_null_that_no_plan_gives_stays_in_the_file(tmp_path: Path) -> None:
    """A command gets the file, not words: ``--resume_from_checkpoint null`` names a directory."""
    result = arrives(tmp_path, "llamafactory", "resume_from_checkpoint: null\nval_size: null\n")
    assert result.keys["argv"] == ["llamafactory-cli", "train", "t.yaml"]
    assert result.says("t is imported as a command: --val_size null") is False
    assert result.says("llamafactory-cli train is imported as a command: --val_size null")
    assert result.status == 0


def test_null_is_left_out_of_a_file_for_ms_swift(tmp_path: Path) -> None:
    """There it is the text None, which nobody means."""
    result = arrives(tmp_path, "swift", "resume_from_checkpoint: null\nadapters: []\nseed: 1\n")
    assert result.keys["training"] == {"output_dir": "out", "seed": 1}
    lost = "s.sh:1: difference: resume_from_checkpoint: null gives ms-swift the text None"
    assert result.says(f"{lost}, and is left out here")
    assert result.says("s.sh:1: difference: adapters: [] gives ms-swift no value")
    assert result.verdict == "not proven: 2 differences"


def test_null_is_null_to_a_flag_of_ms_swift_with_choices(tmp_path: Path) -> None:
    """Leaving it out says the same, as null is what it has where nobody says it."""
    (tmp_path / "t.yaml").write_text(f"{SWIFT}norm_bbox: null\n")
    result = imported(tmp_path, {"s.sh": "swift rlhf t.yaml\n"})
    assert result.verdict == "proven equal: 4 flags, 0 variables"


def test_a_command_that_trains_by_a_file_is_given_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = imported(tmp_path, {"t.yaml": "model: m\nrlhf_type: grpo\ndataset: d\n"})
    assert result.keys["argv"] == ["swift", "rlhf", "t.yaml"]
    assert result.status == 0


def test_what_is_exported_wins_over_the_variables_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("model: m\ndataset: d\nENV: {A: 1, B: 2}\n")
    result = imported(tmp_path, {"s.sh": "export A=3\nswift sft t.yaml\n"})
    assert result.keys["env"] == {"set": {"A": "3", "B": "2"}}


@pytest.mark.parametrize("learner", STARTS)
def test_every_value_arrives_as_it_is(tmp_path: Path, learner: str) -> None:
    more = "".join(f"x{number}: {odd}\n" for number, odd in enumerate(ODD))
    result = arrives(tmp_path, learner, more)
    assert result.status == 0, result.said
    assert "argv" not in result.keys, result.said


@pytest.mark.parametrize("learner", STARTS)
@pytest.mark.parametrize("text", ["yes", "1.10", "'1.10'", "1e5", "'1e5'", "'true'", "'null'"])
def test_what_a_text_is_taken_for_arrives_as_well(tmp_path: Path, learner: str, text: str) -> None:
    result = arrives(tmp_path, learner, f"run_name: {text}\n")
    assert result.status == 0, result.said
    assert "argv" not in result.keys, result.said


REFUSED = {
    "bytes": ("run_name: !!binary aGVsbG8=\n", "t.yaml:5: run_name holds bytes, quote it"),
    "a set": ("seed: 1\nx: !!set {a, b}\n", "t.yaml: cannot be read by LLaMA-Factory (Value 'set'"),
    "a key": ("1: x\n", "t.yaml:5: 1 is no name of an argument, quote it"),
    "null as a key": ("? \n: x\n", "t.yaml:5: None is no name of an argument, quote it"),
    "a key with a blank": ("a b: x\n", "t.yaml:5: a b is no name of an argument, correct it"),
    "a key twice": ("stage: a\nstage: b\n", "t.yaml:6: stage is given in line 5 already"),
    "no mapping": ("- a\n", "t.yaml:5:1: malformed YAML"),
    "no date": ("run_name: 2024-13-45\n", "t.yaml: holds a malformed value (month must be"),
    "a tag": ("run_name: !!python/name:os.system\n", "t.yaml:5:11: malformed YAML"),
}


@pytest.mark.parametrize(("more", "line"), REFUSED.values(), ids=REFUSED)
def test_what_no_experiment_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LLAMAFACTORY.replace("stage: sft", "seed: 2") if "stage" in more else LLAMAFACTORY
    (tmp_path / "t.yaml").write_text(text + more, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        imported(tmp_path, {"s.sh": "llamafactory-cli train t.yaml\n"})
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{a: 2024-01-01}", "a date, 2024-01-01"),
        ("!!set {a, b}", "a set"),
        ("[!!binary aA==]", "b"),
    ],
)
def test_what_ms_swift_writes_as_no_json_is_refused(tmp_path: Path, value: str, what: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{SWIFT}model_kwargs: {value}\n")
    with pytest.raises(ConfigError, match=rf":5: model_kwargs holds {what}.*, quote it"):
        imported(tmp_path, {"s.sh": "swift rlhf t.yaml\n"})


def test_what_omegaconf_does_not_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"{LLAMAFACTORY}run_name: '${{'\n")
    with pytest.raises(ConfigError, match=r"t.yaml: cannot be read by LLaMA-Factory \("):
        imported(tmp_path, {"s.sh": "llamafactory-cli train t.yaml\n"})


def test_a_text_of_several_lines_is_written_on_one(tmp_path: Path) -> None:
    result = arrives(tmp_path, "swift", "system: |\n  You are\n  brief.\n\nseed: 1\n")
    assert '\n  system: "You are\\nbrief.\\n"\n' in result.text


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=3),
    st.text(st.characters(exclude_categories=("Cs", "Co")), max_size=8),
    st.sampled_from([odd for odd in map(yaml.safe_load, ODD) if not isinstance(odd, dict | list)]),
)
NAMES = st.sampled_from(("seed", "run_name", "report_to", "ENV", "env", "gpus", "data", "x"))
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=2), st.dictionaries(SCALARS, below, max_size=2)
    ),
    max_leaves=3,
)
TEXTS = st.one_of(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=3).map(
        lambda data: yaml.safe_dump(data, allow_unicode=True)
    ),
    st.dictionaries(SCALARS, SCALARS, min_size=1, max_size=2).map(yaml.safe_dump),
    # Whatever a person types behind a key.
    st.text("ab1-:# '\"[]{}&*!|>%@,?~\n.e_", max_size=12).map(lambda text: f"run_name: {text}\n"),
)


@costly
@given(st.sampled_from([*STARTS]), TEXTS)
def test_whatever_a_file_holds_arrives_or_is_refused(learner: str, more: str) -> None:
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(ConfigError):
        arrives(Path(directory), learner, more)
