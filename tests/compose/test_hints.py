"""What a wrong command line answers: one line, `<where>: <what>, <fix>`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.config.compose import compose, compose_arguments
from grpo_launch.config.hydra import hints, lookup
from grpo_launch.errors import ConfigError
from tests.effort import costly

C = "command line: "
FLAGS = (
    "external_plugins, gym_env, lora_policy, max_turns, multi_turn_scheduler, use_gym_env, "
    "vllm_data_parallel_size, vllm_disable_cascade_attn, vllm_disable_custom_all_reduce, "
    "vllm_enable_lora, vllm_enable_prefix_caching, vllm_enforce_eager, vllm_engine_kwargs, "
    "vllm_gpu_memory_utilization, vllm_limit_mm_per_prompt, vllm_max_lora_rank, "
    "vllm_max_model_len, vllm_max_num_seqs, vllm_mm_processor_cache_gb, vllm_quantization, "
    "vllm_tensor_parallel_size, vllm_use_async_engine, or another flag of swift rollout"
)
LEN = "rollout_server.vllm_max_model_len"
INTEGER = "is not an integer, write an integer there"
BOOLEAN = "is not true or false, write true or false"
QUOTES = "with both kinds of quotes"
INTERPOLATION = "correct it, or write \\${ for the text itself"
MOVED = "is lifted out of train and has no effect here"
BLOCK = "custom.extra.rollout_server"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One experiment, ``exp``, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "exp.yaml").write_text(
        "rlhf: {x: 1, flag: true}\n"
        "custom: {extra: {rollout_server: {vllm_tensor_parallel_size: 1}}}\n"
    )


WRONG: list[tuple[str, str]] = [
    # types: what is expected
    ("health.probe=foo", "health.probe: 'foo' is not one of http, generate, choose one of them"),
    (
        "runtime.kind=foo",
        "runtime.kind: 'foo' is not one of current, venv, conda, choose one of them",
    ),
    (
        "console.learner=foo",
        "console.learner: 'foo' is not one of auto, progress, log, choose one of them",
    ),
    ("health.timeout_s=abc", "health.timeout_s: 'abc' is not a number, write a number there"),
    ("preflight=maybe", f"preflight: 'maybe' {BOOLEAN}"),
    ("preflight=2", f"preflight: '2' {BOOLEAN}"),
    ("rollout_server.vllm_enforce_eager=3", f"rollout_server.vllm_enforce_eager: '3' {BOOLEAN}"),
    ("gpus.server=3", "gpus.server: '3' is not a list, write a list, [a, b]"),
    (
        "~gpus.server",
        (
            "gpus.server: is a setting, which has a value and cannot be deleted, "
            "write gpus.server=null for its default"
        ),
    ),
    ("gpus.server={a:1}", "gpus.server: '{a:1}' is not a list, write a list, [a, b]"),
    (
        "rollout_server.vllm_quantization=[a]",
        "rollout_server.vllm_quantization: '[a]' is not a string, write a string there",
    ),
    (
        "env.set=3",
        "env.set: '3' is not a mapping of names to strings, write a mapping, {NAME: 'value'}",
    ),
    ("+env.set.A=[3]", "env.set.A: '[3]' is not a string, write a string there"),
    ("train=3", "train: '3' is not a mapping, override keys below it"),
    # whole numbers
    (f"{LEN}=abc", f"{LEN}: 'abc' {INTEGER}"),
    (f"{LEN}=true", f"{LEN}: 'true' {INTEGER}"),
    (f"{LEN}=[1]", f"{LEN}: '[1]' {INTEGER}"),
    (f"{LEN}={{a:1}}", f"{LEN}: '{{a:1}}' {INTEGER}"),
    (f"{LEN}=0x10", f"{LEN}: '0x10' {INTEGER}"),
    (f"{LEN}=inf", f"{LEN}: 'inf' {INTEGER}"),
    (f"{LEN}=12000.7", f"{LEN}: '12000.7' {INTEGER}"),
    (f"{LEN}='12000.7'", f"{LEN}: '12000.7' {INTEGER}"),
    (f"{LEN}=1e4", f"{LEN}: '1e4' is not an integer, write 10000"),
    (f"{LEN}=64.0", f"{LEN}: '64.0' is not an integer, write 64"),
    ("learner.master_port=1.5", f"learner.master_port: '1.5' {INTEGER}"),
    # null
    ("gpus=null", "gpus: cannot be null, give it a mapping"),
    ("health.timeout_s=null", "health.timeout_s: cannot be null, give it a number"),
    ("engine.entry=null", "engine.entry: cannot be null, give it a list"),
    ("preflight=null", "preflight: cannot be null, give it true or false"),
    ("+env.set.A=null", "env.set.A: cannot be null, give it a string"),
    ("train=null", "train: 'null' is not a mapping, override keys below it"),
    # unknown keys
    (
        "rollout_server.vllm_max_modl_len=3",
        f"rollout_server.vllm_max_modl_len: unknown key, did you mean {LEN}?",
    ),
    (
        "+rollout_server.vllm_max_modl_len=3",
        f"rollout_server.vllm_max_modl_len: unknown key, did you mean {LEN}?",
    ),
    ("++rollout_server.foo=3", f"rollout_server.foo: unknown key, use one of {FLAGS}"),
    ("~rollout_server.foo", f"rollout_server.foo: unknown key, use one of {FLAGS}"),
    ("health.prob=http", "health.prob: unknown key, did you mean health.probe?"),
    ("healt.probe=http", "healt.probe: unknown key, did you mean health.probe?"),
    ("gpu.server=[1]", "gpu.server: unknown key, did you mean gpus.server?"),
    (f"{LEN}.foo=3", f"{LEN}.foo: {LEN} has no keys below it, remove .foo"),
    (
        "foo=1",
        (
            "foo: unknown key, see docs/training/REFERENCE.md for the keys, or write "
            "train.training.foo=... for a flag of the learner"
        ),
    ),
    ("foo.bar=1", "foo.bar: unknown key, see docs/training/REFERENCE.md for the keys"),
    ("rlhf.x=1", "rlhf.x: unknown key, did you mean train.rlhf.x?"),
    ("rlhf.new=1", "rlhf.new: unknown key, did you mean train.rlhf.new?"),
    ("train.rlfh.x=1", "train.rlfh.x: unknown key, did you mean train.rlhf.x?"),
    ("+train.rlfh.x=1", "train.rlfh.x: unknown key, did you mean train.rlhf.x?"),
    ("rlfh.x=1", "rlfh.x: unknown key, did you mean train.rlhf.x?"),
    ("+gpu.server=[3]", "gpu.server: unknown key, did you mean gpus.server?"),
    ("rollout.x=1", "rollout.x: unknown key, did you mean rollout_server.x?"),
    ("++rollout.x=1", "rollout.x: unknown key, did you mean rollout_server.x?"),
    ("+custom.x=1", "custom.x: unknown key, did you mean train.custom.x?"),
    ("train.beta=1", "train.beta: unknown key, did you mean train.rlhf.beta?"),
    ("beta=1", "beta: unknown key, did you mean train.rlhf.beta?"),
    ("max_steps=3", "max_steps: unknown key, did you mean train.training.max_steps?"),
    (
        "+anything=1",
        (
            "anything: unknown key, see docs/training/REFERENCE.md for the keys, or write "
            "train.training.anything=... for a flag of the learner"
        ),
    ),
    (
        "gpus.server=[0",
        "gpus.server: [ and ] do not match in '[0', write gpus.server=[a,b], without spaces",
    ),
    (
        "anything=3",
        (
            "anything: unknown key, see docs/training/REFERENCE.md for the keys, or write "
            "train.training.anything=... for a flag of the learner"
        ),
    ),
    ("tuner.lora_rank=4", "tuner.lora_rank: unknown key, did you mean train.tuner.lora_rank?"),
    (
        "vllm_max_num_seq=4",
        "vllm_max_num_seq: unknown key, did you mean rollout_server.vllm_max_num_seqs?",
    ),
    ("env.set={A:3}", "env.set.A: is not set yet, write +env.set.A=... to add it"),
    (
        "train.rlhf={flg:1}",
        "train.rlhf.flg: unknown key, did you mean train.rlhf.flag?",
    ),
    ("env.set.A=3", "env.set.A: is not set yet, write +env.set.A=... to add it"),
    (
        "collector.sampling.top_p=0.9",
        "collector.sampling.top_p: is not set yet, write +collector.sampling.top_p=... to add it",
    ),
    ("+train.rlhf.x=3", "train.rlhf.x: is set already, write train.rlhf.x=3"),
    ("~foo", "foo: there is nothing to delete, remove the override"),
    (
        "~train.rlhf.flg",
        "train.rlhf.flg: there is nothing to delete, did you mean ~train.rlhf.flag?",
    ),
    ("~train.rlhf.x=3", "train.rlhf.x: is 1, not 3, write ~train.rlhf.x"),
    # the legacy spelling
    (f"train.{BLOCK}.a=2", f"train.{BLOCK}.a: {MOVED}, write rollout_server.a=2"),
    (f"++train.{BLOCK}.a=2", f"train.{BLOCK}.a: {MOVED}, write rollout_server.a=2"),
    (f"~train.{BLOCK}.a", f"train.{BLOCK}.a: {MOVED}, write rollout_server.a=null"),
    (f"{BLOCK}.a=2", f"{BLOCK}.a: {MOVED}, write rollout_server.a=2"),
    (f"train.{BLOCK}={{a:2}}", f"train.{BLOCK}: {MOVED}, write rollout_server.KEY={{a:2}}"),
    (
        "+train.custom.extra.launch.gpus.server=[1]",
        f"train.custom.extra.launch.gpus.server: {MOVED}, write gpus.server=[1]",
    ),
    # groups
    ("runtime=nope", "runtime=nope: no such option, choose one of conda, current, venv"),
    ("runtime=ven", "runtime=ven: no such option, did you mean venv?"),
    (
        "runtime=null",
        ("runtime: 'null' is not the name of an option, choose one of conda, current, venv"),
    ),
    ("runtime=3", "runtime: '3' is not the name of an option, choose one of conda, current, venv"),
    (
        "runtime={a:1}",
        ("runtime: '{a:1}' is not the name of an option, choose one of conda, current, venv"),
    ),
    ("runtime@foo=venv", "runtime@foo: no such choice of a group, write runtime=NAME"),
    ("+runtime=venv", "runtime: the group has a choice already, write runtime=venv"),
    ("++runtime=venv", "runtime: is a group, write runtime=venv"),
    ("foo/bar=1", "foo/bar: no such group, write foo.bar=... for a key"),
    (
        "rollout_server=3",
        (
            "rollout_server: '3' is not the name of an option, set "
            "rollout_server.KEY=VALUE for each key"
        ),
    ),
    ("hydra/launcher=nope", "hydra/launcher=nope: no such option, choose one of basic"),
    # grammar
    ("a=b=c=[", f"""a: Hydra cannot read 'b=c=[', type "a='b=c=['", {QUOTES}, for a string"""),
    (
        "train.rlhf.x=a(b",
        (
            f"""train.rlhf.x: Hydra cannot read 'a(b', type "train.rlhf.x='a(b'", {QUOTES}, """
            "for a string"
        ),
    ),
    (
        "train.rlhf.x=it's",
        (
            f"""train.rlhf.x: Hydra cannot read "it's", type "train.rlhf.x='it\\'s'", {QUOTES}, """
            "for a string"
        ),
    ),
    (
        "train.rlhf.x=a,b",
        "train.rlhf.x: 'a,b' is a sweep, write train.rlhf.x=[a,b] for a list, or add --multirun",
    ),
    (
        "train.rlhf.x=range(3)",
        (
            "train.rlhf.x: 'range(3)' is a sweep, write train.rlhf.x=[range(3)] for a list, or add "
            "--multirun"
        ),
    ),
    ("foo", "foo: has no value, write foo=VALUE"),
    ("=3", "=3: names no key, write KEY=VALUE"),
    ("train.rlhf.x=${nope}", "train.rlhf.x: Interpolation key 'nope' not found, " + INTERPOLATION),
    (
        "train.rlhf.x=${oc.env:NO_SUCH}",
        "train.rlhf.x: needs the environment variable NO_SUCH, which is not set, export NO_SUCH",
    ),
    (
        "train.rlhf.x='${'",
        "train.rlhf.x: no viable alternative at input '${', " + INTERPOLATION,
    ),
]


@pytest.mark.parametrize(("override", "message"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_override_says_what_to_type(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_arguments(["config=exp", "role=check", override])
    assert str(caught.value) == C + message


CHOICES = (
    "digits_loop, digits_vllm, exp, hanabi, hanabi_loop, sft_llamafactory, sft_swift, "
    "summary_1024, summary_1024_attr_key_recall, tiny_cpu, webagent, webagent_cpu, "
    "webagent_external"
)

WRONG_LINES: list[tuple[list[str], str]] = [
    (["role=check"], f"command line: config= is missing, say config=NAME, one of {CHOICES}"),
    (
        ["config=exp"],
        (
            "command line: role= is missing, say role=NAME, "
            "one of advise, both, check, explain, learner, loop, rollout, server, update"
        ),
    ),
    (["config=exq", "role=check"], C + "config=exq: no such experiment, did you mean exp?"),
    (
        ["config=summary1024", "role=check"],
        C + "config=summary1024: no such experiment, did you mean "
        "summary_1024 or summary_1024_attr_key_recall?",
    ),
    (
        ["config=zzz", "role=check"],
        C + f"config=zzz: no such experiment, choose one of {CHOICES}",
    ),
    (["config=", "role=check"], C + f"config=: no such experiment, choose one of {CHOICES}"),
    (["config=exp", "role=serve"], C + "role=serve: no such option, did you mean server?"),
    (
        ["config=exp", "role=null"],
        C
        + "role: 'null' is not the name of an option, "
        + "choose one of advise, both, check, explain, learner, loop, rollout, server, update",
    ),
    (
        ["config=[a,b]", "role=check"],
        C + "config=[a,b]: one run has one experiment, not a list, write --multirun config=a,b",
    ),
    (
        ["config=exp", "role=check", "runtime=[venv,conda]"],
        C + "runtime: '[venv,conda]' is not the name of an option, name one option",
    ),
    (
        ["config=exp", "role=check", f"rollout_server={'n' * 256}"],
        C + f"rollout_server: '{'n' * 256}' is not the name of an option, "
        "set rollout_server.KEY=VALUE",
    ),
    (
        ["config=a,b", "role=check"],
        C + "config: 'a,b' is more than one experiment, add --multirun",
    ),
    (
        ["config='${x}'", "role=check"],
        C + "config='${x}': Hydra reads ${ in a name as an interpolation, rename the file",
    ),
    (
        ["+config=exp", "role=check"],
        C + "config: the group has a choice already, write config=exp",
    ),
]


@pytest.mark.parametrize(
    "name", ["2048", "true", "1e5", "null", "a,2", "a@b", "a b", "a$b", "{a:1}", "\u00fc"]
)
def test_a_name_that_hydra_does_not_read_as_one_is_answered_with_the_quoted_form(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_arguments([f"config={name}", "role=check"])
    assert str(caught.value) == (
        f"command line: config={name}: Hydra does not read this name as a string, "
        f"""type "config='{name}'", with both kinds of quotes"""
    )


@pytest.mark.parametrize(
    ("line", "message"), WRONG_LINES, ids=[" ".join(case[0]) for case in WRONG_LINES]
)
def test_a_wrong_command_line_says_what_to_type(line: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_arguments(line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "override",
    [
        "rollout_server.vllm_max_model_len=12000",
        "rollout_server.vllm_max_model_len='12000'",
        "rollout_server.vllm_max_model_len=null",
        "rollout_server.vllm_enforce_eager=1",
        "rollout_server.vllm_gpu_memory_utilization=1",
        "preflight=no",
        "dry_run=json",
        "gpus.server=[0,GPU-1]",
        "+env.set.A=3",
        "+env.set={A:b}",
        "+rollout_server.vllm_engine_kwargs={a:1}",
        "train.rlhf.x=a:b",
        "train.rlhf.x=a b",
        "train.rlhf.x=???",
        "train.rlhf.num_generation=4",  # the rules know the flags of the installed learner
        "train.tuner.lora_rank=4",
        "~train.rlhf.x",
        "train.rlhf={x:2}",
        "train.rlhf=null",
        "+train.custom.anything=1",
        "hydra.verbose=true",
        "role.name=mine",
    ],
)
def test_a_right_override_is_let_through(override: str) -> None:
    compose_arguments(["config=exp", "role=check", override])


def test_an_argument_of_the_learner_is_set_whether_or_not_the_experiment_sets_it() -> None:
    overrides = ["train.rlhf.x=2", "train.tuner.lora_rank=4", "train.deepspeed.config=zero2"]
    train = compose("exp", overrides).train
    assert train["rlhf"]["x"] == 2
    assert (train["tuner"], train["deepspeed"]) == ({"lora_rank": 4}, {"config": "zero2"})


@pytest.mark.slow
def test_a_second_wrong_override_does_not_hide_the_first() -> None:
    with pytest.raises(ConfigError) as caught:
        compose("exp", ["health.probe=x", "foo=1"])
    places = [": ".join(line.split(": ")[:2]) for line in caught.value.lines()]
    assert places == ["command line: health.probe", "command line: foo"]


def test_every_wrong_override_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        compose("exp", ["gpus.servr=[0]", "preflight=2", "train.custom.extra.launch.gpus=1"])
    assert len(caught.value.lines()) == 3


def test_an_option_that_an_experiment_chose_wrongly_names_the_experiment() -> None:
    Path("configs/exp.yaml").write_text("custom: {extra: {launch: {runtime: nope}}}\n")
    config = compose_arguments(["config=exp", "role=check"])
    assert [str(mistake.error) for mistake in config.mistakes] == [
        (
            "configs/exp.yaml: custom.extra.launch.runtime: there is no option nope, "
            "choose one of conda, current, venv"
        )
    ]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1))
def test_a_quoted_name_is_read_back_as_it_was(name: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert hints.unquoted(hints.quoted(name)) == name
    override = OverridesParser.create().parse_override(f"config={hints.quoted(name)}")
    assert override.value() == name


@pytest.mark.slow
@costly
@given(
    st.sampled_from(["train.rlhf.x", "rollout_server.vllm_max_model_len", "x", "gpus.server", ""]),
    st.text("ab1'\"\\[]{}(),:=$ \n~+@/\u00fc", max_size=6),
)
def test_no_override_ends_in_anything_but_one_line(key: str, value: str) -> None:
    answer = "command line: let through"
    try:
        compose_arguments(["config=exp", "role=check", f"{key}={value}"])
    except ConfigError as error:
        answer = str(error)
    assert "\n" not in answer
    assert answer.startswith("command line: ")
