"""What a person is told about a script: what is not known, and what is probably wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grpo_launch.bash import read, syntax
from grpo_launch.bash.script import About, Call, Kind, Remark, Script, Unknown
from grpo_launch.errors import ConfigError


def of(text: str, **more: object) -> Script:
    return read(text.encode(), "train.sh", **more)  # pyright: ignore[reportArgumentType]


def only(text: str, **more: object) -> Call:
    (call,) = of(text, **more).calls
    return call


def said(call: Call) -> list[str]:
    return [str(word) for word in call.words]


@pytest.mark.parametrize(
    ("text", "kind", "name", "shown"),
    [
        ("run $HF_HOME", Kind.VARIABLE, "HF_HOME", "$HF_HOME"),
        ("run ${HF_HOME}/x", Kind.VARIABLE, "HF_HOME", "${HF_HOME}/x"),
        ("run $1", Kind.POSITIONAL, "1", "$1"),
        ("shift; run $1", Kind.POSITIONAL, "2", "$1"),
        ("run $(date +%F)", Kind.COMMAND, "", "$(date +%F)"),
        ("x=$(nproc); run $x", Kind.COMMAND, "x", "$(nproc)"),
        ("x=$RANDOM; y=a$x; run $y", Kind.OTHER, "x", "a$RANDOM"),
        ("run data/*.json", Kind.FILE, "", "data/*.json"),
        ("run data=*.json", Kind.FILE, "", "data=*.json"),
        ("run [ab].json", Kind.FILE, "", "[ab].json"),
        ("shopt -s nullglob; run k=[v]", Kind.FILE, "", "k=[v]"),
        ("run $(< hosts)", Kind.FILE, "", "$(< hosts)"),
        ("[ -f x ] && x=1 || x=2; run $x", Kind.BRANCH, "x", "${x}"),
        ("read -r x; run $x", Kind.OTHER, "x", "${x}"),
        ("run $((N * 2))", Kind.VARIABLE, "N", "$((N * 2))"),
        ("run ${X%/*}", Kind.VARIABLE, "X", "${X%/*}"),
        ("run ${HOME:-x}", Kind.VARIABLE, "HOME", "${HOME:-x}"),
    ],
)
def test_why_a_value_is_not_known(text: str, kind: Kind, name: str, shown: str) -> None:
    word = of(text).calls[-1].words[1]
    assert word.known is None
    assert [(u.kind, u.name) for u in word.unknowns] == [(kind, name)]
    assert str(word) == shown


@pytest.mark.parametrize(
    ("text", "words", "defaults"),
    [
        ("run ${N:-4}", ["4"], {"N": "4"}),
        ("M=${1:-q}; run $M", ["q"], {}),
        ("M=$1; run ${M:-q}", ["q"], {}),
        ("M=$SIZE; run ${M:-7B}", ["7B"], {"SIZE": "7B"}),
        ("run a${L:+:$L}", ["a"], {"L": ""}),
        (': "${N:=2}"; run $N', ["2"], {"N": "2"}),
        ("N=1; run ${N:-4}", ["1"], {}),
        ("run ${D:-$HOME/d}", ["$HOME/d"], {"D": "$HOME/d"}),
        ("run ${D:-d$(date)}", ["d$(date)"], {}),
    ],
)
def test_a_default_is_taken_and_noted(
    text: str, words: list[str], defaults: dict[str, str]
) -> None:
    script = of(text)
    assert said(script.calls[-1])[1:] == words
    assert {name: str(value) for name, value in script.defaults.items()} == defaults


def test_an_unknown_of_a_word_says_whether_it_stays_one_word() -> None:
    call = only("""a=("$W"); run $X "$Y" ~/z ${a[@]} "${a[@]}" """)
    unknowns = [unknown for word in call.words for unknown in word.unknowns]
    assert [unknown.quoted for unknown in unknowns] == [False, True, True, False, True]


def test_settings_win_over_defaults_and_assignments_over_settings() -> None:
    text = "M=${M:-a}; N=3; run $M $N"
    call = only(text, settings={"M": "b", "N": "5"})
    assert said(call) == ["run", "b", "3"]
    assert {name: value.known for name, value in call.environ.items()} == {"M": "b", "N": "3"}


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("if [ -d x ]; then run; fi", ["[ -d x ]"]),
        ("if [ -d x ]; then :; else run; fi", ["not [ -d x ]"]),
        ("[ -d x ] || exit 1; run", []),
        ("if [ ! -d x ]; then exit 2; fi; run", []),
        ('if [ "$MODE" = s ]; then exit; fi; run', ['not [ "$MODE" = s ]']),
        ("case $MODE in s) run;; esac", ["$MODE is s"]),
        ("f() { [ -d x ] && return; run; }; f", ["not [ -d x ]"]),
        ("[ -d x ] && [ -d y ] && run", ["[ -d x ] && [ -d y ]"]),
        ("if true; then run; fi", []),
        ('set -e; f() { [ -n "$V" ] && echo; }; f; run', ['[ -n "$V" ]']),
        ('set -e; f() { [ -n "$V" ] && echo; }; f a | tee log; run', []),
        ('set -e -o pipefail; f() { [ -n "$V" ] && echo; }; f a | tee log; run', ['[ -n "$V" ]']),
        ('f() { [ -n "$V" ] && echo; }; f; set -e; run', []),
        ('set -e; f() { [ -n "$V" ] && echo; true; }; f; run', []),
        ('set -e; f() { [ -n "$V" ] && echo; }; f || true; if f; then :; fi; run', []),
        ('set -e; [ -n "$V" ] && echo; run', []),
        ('set -e; [ -n "$V" ]; pip install x; grep -q a b && echo; mkdir c; run', []),
        ('set -e; f() { [ -f "$HOME/a" ] && . "$HOME/a"; }; f; run', []),
        ('set -e; ( [ -n "$V" ] && echo ); run', ['[ -n "$V" ]']),
        ("set -e; bash -c 'set -e; ([ -n \"$V\" ] && :); echo'; run", ['[ -n "$V" ]']),
        ('set -e; f() { [ -n "$V" ] && :; }; if [ -d a ]; then f; fi; run', ['[ -n "$V" ]']),
        ("set -e; N=${1:-x}; shift; run", ["there is an argument $1"]),
        ("set -e; shift 2 || true; run", []),
        ("shift; run", []),
    ],
)
def test_conditions_of_a_call(text: str, conditions: list[str]) -> None:
    last = of(text).calls[-1]
    assert said(last) == ["run"]
    assert [c.text for c in last.conditions] == conditions


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("for f in *.json; do run $f; done", True),
        ("for i in $(seq $N); do run; done", True),
        ("while true; do run && break; done", True),
        ("for f in a; do run; done", False),
    ],
)
def test_a_loop_whose_rounds_are_not_known(text: str, repeated: bool) -> None:
    assert only(text).repeated == repeated


def test_a_variable_that_a_loop_changes_is_not_known_in_it() -> None:
    first, last = of("p=1; while [ -e x ]; do run $p; p=$((p+1)); done; run $p").calls
    assert [u.kind for u in first.words[1].unknowns] == [Kind.BRANCH]
    assert last.words[1].known is None


def test_an_endless_loop_is_left_by_break_alone() -> None:
    script = of("i=0; while true; do i=$((i+1)); done; run")
    assert [c for c in script.calls if c.words[0].known == "run"] == []
    assert "rounds" in script.remarks[0].what


def test_where_output_goes() -> None:
    call = only("nohup run > out.log 2>&1 &")
    assert call.background
    assert [(r.operator, str(r.target), r.descriptor) for r in call.redirects] == [
        (">", "out.log", None),
        (">&", "1", 2),
    ]
    call = only("run 2>&1 | tee -a $(date).log")
    assert (call.piped, [str(f) for f in call.teed]) == (False, ["$(date).log"])
    assert of("run | grep x").calls[0].piped
    teed = only("exec > out; { run; } > >(tee x)")
    assert ([str(r.target) for r in teed.redirects], [str(f) for f in teed.teed]) == (
        ["out"],
        ["x"],
    )
    document = only("cat > f <<E\na $((1+1))\nE")
    assert (document.stdin and document.stdin.known) == "a 2\n"


def test_sourced_files_and_what_is_missing_of_them() -> None:
    files = {"conf/env.sh": b"export N=2\r\nrun inside\n", "conf/bad.sh": b"if x\n"}
    text = 'source "$(dirname "$0")/conf/env.sh"; run $N; . ./conf/bad.sh; source /opt/x/activate'
    script = of(text, sources=files)
    calls = [(said(c), c.file) for c in script.calls]
    assert calls[:2] == [(["run", "inside"], "conf/env.sh"), (["run", "2"], "")]
    assert [c[0][0] for c in calls[2:]] == [".", "source"]
    assert len(script.remarks) == 3
    assert [(r.file, r.line) for r in script.remarks if "carriage return" in r.what] == [
        ("conf/env.sh", 1)
    ]


def test_lines_of_a_call() -> None:
    call = only("\nA=1 \\\n  run \\\n  --x y\n")
    assert (call.line, call.end, call.prefixes) == (3, 4, ("A",))


TRAPS = {
    "carriage returns": (b"#!/bin/bash\r\nrun a \\\r\n  b\r\n", 1, "carriage return"),
    "last backslash": (b"run a \\\n", 1, "end of the file"),
    "placeholder": (b"x\nrun --model <name> out", 2, "placeholder <name>"),
    "missing backslash": (b"run \\\n --a b\n --c d\n", 3, "line 1"),
    "comment within": (b"run \\\n  --a \\\n  # --b \\\n  --c\n", 3, "a comment ends the command"),
    "space behind": (b"run \\ \n  x\n", 1, "space behind the backslash"),
    "spaces around": (b"N = 3\n", 1, "no space"),
    "odd dash": ("run \u2013model x\n".encode(), 1, "U+2013"),
    "a name of the same command": (b"x\nexport A=1 B=a$A\n", 2, "$A is what it was before"),
    "a variable in a command": (b"x\nC='A=1 run'; $C b\n", 2, "A=... comes of a variable"),
    "a redirect in a variable": (b"x\nC='run > log 2>&1'\n$C\n", 3, "gives > to run"),
    "a pipe in a variable": (b"x\nL='| tee log'\nrun $L &\n", 3, "gives | to run"),
    "no name": (b"x\nexport $(echo A=1 '# c')\n", 2, "'#' is no name of a variable"),
    "byte order mark": (b"\xef\xbb\xbfrun\n", 1, "byte order mark"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_named_with_its_line(name: str) -> None:
    text, line, what = TRAPS[name]
    traps = (About.TRAP, About.WRONG)
    found = [r for r in read(text, "x.sh").remarks if r.about in traps and r.line == line]
    assert any(what in remark.what for remark in found), read(text, "x.sh").remarks


@pytest.mark.parametrize(
    "text",
    [
        "run a \\\n  b # c \\\n",
        "echo 'a \\ \n b' \"c\\\n# d\"\n# e \\ \n",
        "cat <<E\n a \\\n # b\n \u2013x\nE\n",
        "sort < in > out\n",
        "# we train a model here: all is well\nrun\n",
        "run \\\n  --a\n# comment\nrun2\n",
        "A=1; export A=$A B=$A C=1 D=$E; local A=1; local B=$A\n",
        'C="run > log"; eval $C; eval "$C"; bash -c "$C"; echo $C; run "$C" ">" \\| a=1 "&"',
        "S='<image> a>b x|y'; env A=1 run $S; A=1; $A",
        "echo =x; run ==x; ./run.py =x\n",
    ],
)
def test_what_is_no_trap(text: str) -> None:
    assert [r for r in of(text).remarks if r.about is About.TRAP] == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("#run x \\\n#  --a\n", 1, "is a comment"),
        ("run\n# python train.py --lr 1\n", 2, "is a comment"),
        ('eval "$(conda shell.bash hook)"\n', 1, "not known"),
        ("source env.sh", 1, "is not read"),
        ("[ $# -gt 0 ] || exit 2", 1, "ends the script"),
        ("f() { f; }; f", 1, "calls itself"),
    ],
)
def test_what_is_not_understood_is_a_remark(text: str, line: int, what: str) -> None:
    remarks: list[Remark] = [r for r in of(text).remarks if what in r.what]
    assert [(r.line, r.about is About.TRAP) for r in remarks] == [(line, False)]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("run\nif x; then\n", "train.sh:2", "then"),
        ("run --model <path>\n", "train.sh:1", "replace the placeholder <path>"),
        ("a\0b", "train.sh", "no text"),
    ],
)
def test_wrong_syntax(text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        of(text)
    assert error.value.where == where
    assert what in str(error.value)


def test_a_missing_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install 'grpo_launch\[import\]'"):
        syntax.parse(b"run", "", "x.sh")


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    "text",
    [
        "x=a; for i in {1..900}; do x=$x$x; done; run $x",
        "for i in {1..999}; do for j in {1..999}; do :; done; done; run",
        "f() { f; f; }; f; run",
        "run {1..99999999}; run $(seq 1 99999999) $((9**999999999)) $((1<<999999))",
        "export X={1..99999999}; run $X",
        "a[999999999]=1; run ${#a[@]}",
    ],
)
def test_nothing_takes_for_ever(text: str) -> None:
    assert of(text).name == "train.sh"


def test_nothing_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    of(f"touch {marker}; x=$(touch {marker}); eval 'touch {marker}'; bash -c 'touch {marker}'")
    assert not marker.exists()


@pytest.mark.parametrize(
    "start",
    [
        "bash sub/serve.sh a b", "sh -e sub/serve.sh a b", "nohup bash sub/serve.sh a b &",
        "./sub/serve.sh a b", "exec bash sub/serve.sh a b", "cd sub; nohup ./serve.sh a b",
        "(exec setsid bash ./sub/serve.sh a b)", "/bin/bash sub/serve.sh a b",
        "/usr/bin/env bash sub/serve.sh a b", "nice -n 5 env -u X time ./sub/serve.sh a b",
        "timeout -k 5 10h stdbuf -oL bash sub/serve.sh a b", "A=1 env bash sub/serve.sh a b",
    ],
)  # fmt: skip
def test_another_script_is_read_where_it_is_given(start: str) -> None:
    """It has what is exported, and its own stays its own."""
    files = {"sub/serve.sh": b'A=$A$1; C=$C; B=3\nexport A\nrun $2 "$B$C"\n'}
    script = of(f"export A=1; B=2; C=9; {start}\nrun $A $B\n", sources=files)
    first, *rest = script.calls
    assert (said(first), first.file, first.line) == (["run", "b", "3"], "sub/serve.sh", 3)
    assert {name: value.known for name, value in first.environ.items()} == {"A": "1a"}
    assert [said(call) for call in rest] == ([] if start[0] == "e" else [["run", "1", "2"]])
    assert [said(call)[0] for call in of(f"{start}\n").calls] != ["run"]


def test_env_gives_another_script_variables_and_takes_them() -> None:
    files = {"s.sh": b"run $A $B ${C:-none}\n"}
    text = "export A=0 B=1 C=2; env A=$B$B -u C bash s.sh; env -u C A=3 bash s.sh; run $A $C"
    script = of(text, sources=files)
    assert [said(call)[1:] for call in script.calls[1:]] == [["3", "1", "none"], ["0", "2"]]
    assert script.calls[1].environ.keys() == {"A", "B"}


@pytest.mark.parametrize("start", ["srun -N 2 bash s.sh", "sbatch s.sh", "srun s.sh"])
def test_a_script_that_starts_elsewhere_is_named(start: str) -> None:
    (remark,) = of(start, sources={"s.sh": b"run\n"}).remarks
    assert (remark.about, remark.what[:12]) == (About.UNREAD, "starts s.sh ")
    assert of(start).remarks == []


@pytest.mark.parametrize(
    ("start", "file", "line"),
    [
        ("sh s.sh", "x\nA=(1 2)\n[[ a ]]", 2),
        ("/bin/sh s.sh", "source f", 1),
        ("./s.sh", "#!/bin/sh\n[[ a = b ]]", 2),
        ("sh -c 'function f { x; }; f'", "", 1),
        (
            "sh s.sh",
            'f() { local A=1; x "$((A + 1))" > log 2>&1; }; export B',
            0,
        ),
        ("bash s.sh", "A=(1 2)", 0),
        ("./s.sh", "#!/bin/bash\nA=(1 2)", 0),
    ],
)
def test_what_sh_does_not_know_is_a_trap(start: str, file: str, line: int) -> None:
    remarks = of(start, sources={"s.sh": file.encode()}).remarks
    traps = [remark.line for remark in remarks if remark.about is About.TRAP]
    assert traps == ([line] if line else [])


@pytest.mark.parametrize(
    "line",
    [
        "export $(grep -v '^#' .env | xargs)",
        "export $(cat .env | grep -v '^#' | xargs)",
        'export $(cat ./.env | grep -v "^\\s*#")',
        "set -a; source .env; set +a",
        "export $(cat .env | sed 's/#.*//g' | xargs)",
        "export $(sed '/^\\s*#/d' .env)",
        'while IFS== read -r k v; do [[ $k == \\#* ]] || export "$k=$v"; done < .env',
        'while IFS= read -r l || [ -n "$l" ]; do [[ $l = \\#* ]] || export $l; done < .env',
    ],
)
def test_variables_of_a_file_are_read_where_it_is_given(line: str) -> None:
    files = {".env": b"#A=0\nA=1\nB=x/y\n"}
    call = of(f"{line}\nrun\n", sources=files).calls[-1]
    assert {name: value.known for name, value in call.environ.items()} == {"A": "1", "B": "x/y"}
    unread = of(f"{line}\nrun\n").remarks
    assert [remark.about for remark in unread] == [About.UNREAD]


@pytest.mark.parametrize(
    ("loop", "calls"),
    [
        ('while read -r l; do run "$l"; done < f', ["run a", "run b c"]),
        ('while read -r l || [ -n "$l" ]; do run "$l"; done < f', ["run a", "run b c", "run d"]),
        ("while read -r l; do run $l; break; done < f", ["run a"]),
        ("while read -r l; do run $l; maybe && break; done < f", ["run ${l}", "maybe"]),
        ("while read a && read b; do run $a; done < f", ["run ${a}"]),
        ("echo x > f; while read l; do run $l; done < f", ["echo x", "run x"]),
        ("while read -r l; do run $l; done < gone", ["run ${l}"]),
    ],
)
def test_a_loop_over_lines(loop: str, calls: list[str]) -> None:
    script = of(loop, sources={"f": b"a\nb c\nd"})
    assert [" ".join(said(call)) for call in script.calls] == calls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('echo "A=1" > f; source ./f; run $A', ["run", "1"]),
        ("cat > f <<E\nA=$((1 + 1))\nE\necho B=3 >> f; . ./f; run $A$B", ["run", "23"]),
        ("printf 'run %s\\n' x > s.sh; chmod +x s.sh; ./s.sh", ["run", "x"]),
        ("(echo run a > f); bash f", ["run", "a"]),
        ("cat <<E | tee f\nA=1\nE\n. ./f", [".", "./f"]),
        ("tee f <<< A=1; . ./f; run $A", ["run", "1"]),
        ("mkdir d; cd d; echo A=1 > f; . ../f; run $A", ["run", "0"]),
        ("sed -i s/0/1/ f; . ./f", [".", "./f"]),
        ("cp g f; . ./f", [".", "./f"]),
        ("cp d/f .; . ./f", [".", "./f"]),
        ("rm -rf d; . ./d/f", [".", "./d/f"]),
        ("{ echo A=1; } > f; . ./f", [".", "./f"]),
        ("echo $X > f; bash f", ["bash", "f"]),
        ("[ -e x ] && echo A=1 > f; . ./f", [".", "./f"]),
        ("echo A=1 >> f; . ./f", [".", "./f"]),
        ("sed s/0/1/ f > g; echo A=1 2> h; . ./f; run $A", ["run", "0"]),
    ],
)
def test_a_file_that_the_script_writes_is_not_what_lies_there(text: str, words: list[str]) -> None:
    script = of(text, sources={"f": b"A=0\n", "d/f": b"A=0\n"})
    assert said(script.calls[-1]) == words
    unread = [remark.what for remark in script.remarks if remark.about is About.UNREAD]
    assert [what[:24] for what in unread] == (
        [] if "run" in words else ["is written by the script"]
    )


@pytest.mark.parametrize("text", ["run a \\", "run a\\", "run a \\\n", "run \\\na\\"])
def test_a_backslash_at_the_end_of_a_file_is_dropped(text: str) -> None:
    script = of(text)
    assert said(script.calls[0]) == ["run", "a"]
    assert [r.about for r in script.remarks] == [About.TRAP]


def test_unknown_parts_stay_with_the_text_around_them() -> None:
    word = only('run "out/$(date +%F)/x"').words[1]
    assert word.parts == ("out/", Unknown(Kind.COMMAND, "$(date +%F)"), "/x")


HERE = 'D="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"; '


@pytest.mark.parametrize(
    ("text", "cwd", "relative", "absolute"),
    [
        ("run $D/x", ".", "./x", "/w/s/x"),
        ("cd sub; run $D/x $PWD", "sub", "../x .", "/w/s/x /w/s/sub"),
        ("cd $D/..; run $PWD/x $(dirname $D)", "..", "./x .", "/w/x /w"),
        ('run "$(basename $D/y)" ${D%/} "${D##*/}"', ".", "y . ${D##*/}", "y /w/s s"),
        ("run ${#D}", ".", "${#D}", "4"),
    ],
)
def test_paths_of_the_script_itself(text: str, cwd: str, relative: str, absolute: str) -> None:
    """Without the path of the start, those that depend on its name are not known."""
    call = only(HERE + text)
    assert (str(call.cwd), " ".join(said(call)[1:])) == (cwd, relative)
    told = only(HERE + text, start="/w/s")
    assert " ".join(said(told)[1:]) == absolute
    assert not any(word.unknowns for word in told.words)


def test_a_comparison_with_a_path_that_nobody_knows() -> None:
    call = only(HERE + '[ "$D" = /w/s ] && run')
    assert len(call.conditions) == 1
    assert only(HERE + '[ "$D" = /w/s ] && run', start="/w/s").conditions == ()


COMMENTS = {
    "in a command": "run a \\\n  # b \\\n  c\n",
    "behind a command": "run a # b \\\nc\n",
    "of other letters": "run a \\\n  # \u914d\u7f6e \\\n  c\n",
    "two": "run a \\\n # b \\\n # c \\\n d\n",
    "behind a value": "run a; X=1 # b \\\nc\n",
}


@pytest.mark.parametrize("script", COMMENTS.values(), ids=COMMENTS)
def test_a_comment_ends_in_its_line(script: str) -> None:
    first, other = of(script).calls
    assert said(first) == ["run", "a"]
    assert said(other)[0] in ("c", "d")


@pytest.mark.parametrize(
    "test", ['if [ -z "$M" ]; then M=q; fi', '[ -z "$M" ] && M=q', "[[ -z ${M} ]] && M=q"]
)
def test_a_default_that_a_condition_gives_is_one(test: str) -> None:
    script = of(f"{test}\nrun $M\n")
    assert said(script.calls[-1]) == ["run", "q"]
    assert {name: str(value) for name, value in script.defaults.items()} == {"M": "q"}
    assert script.calls[-1].conditions == ()


EXPORTS = {
    "not at all": ("NPROC_PER_NODE=2\nrun\n", True),
    "before it": ("NPROC_PER_NODE=2 run\n", False),
    "later": ("NPROC_PER_NODE=2\nexport NPROC_PER_NODE\nrun\n", False),
    "all": ("set -a\nNPROC_PER_NODE=2\nrun\n", False),
    "used by the script": ("WANDB_PROJECT=a\nrun --project $WANDB_PROJECT\n", False),
    "its own": ("MODEL=a\nrun\n", False),
}


@pytest.mark.parametrize(("script", "trap"), EXPORTS.values(), ids=EXPORTS)
def test_a_variable_that_no_program_gets_is_a_trap(script: str, trap: bool) -> None:
    remarks = [one.what for one in of(script).remarks if one.about is About.TRAP]
    assert remarks == ["is assigned, not exported: no program gets it"] * trap


def test_a_comment_in_backquotes_ends_in_them() -> None:
    """The trick with which people comment a line of a continued command."""
    (call,) = of("run a \\\n  `# b` \\\n  c\n").calls
    assert said(call) == ["run", "a", "c"]
