# ruff: noqa: E501 - a script stands on one line
"""What reading says of a script is what the real bash does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grpo_launch.bash.script import Call, Value
from tests.bash.grammar import scripts
from tests.bash.real import Case, Seen, by_bash, by_reading, calls_of, seen_as
from tests.effort import EFFORT

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Scripts are short already: to shrink them takes minutes of processes."""

TOGETHER = 6
"""Scripts of an example: one process starts them."""

SCRIPTS = {
    "prefixes": "A=1 B=2 show; A=3; B=4 show $A; export B; show; unset A; show",
    "exports": "A=1; show; export A; A=2; show; A=3 show; show; export C; C=1; show; export -n A; show",
    "declarations": 'A=0; w=; n=; p=; X=; export A=1 B=$A C=x; show $A $B; f() { local A=2 w=$A v=[$w]; show $A $w $v; }; f; declare -a a=(1 2) n=${#a[@]} b=("${a[@]}" $n); '
    'show $n "${b[@]}"; declare a[0]=9 m=${a[0]}; show $m "${a[0]}"; typeset X=p Y=$X; readonly p=1 q=[$p]; show "$X$Y" $q; A=5 B=$A show',
    "splitting": 'x="a b  c"; show $x "$x" \'$x\' x$x"y"; x=; show $x "$x" a"$x"',
    "separators": 'x="a,b c"; IFS=", "; show $x; IFS=:; y=":a::b:"; show $y "$y"; unset IFS; show $x',
    "positionals": 'show "$@" $# "$1" $2 "${3}" "a$@b" "$*"; shift; show $1 $#; set -- p "q r"; show $# "$2" "$@" $*',
    "no positional": 'f() { show "$@" "pre$@post" "$*" $@ $#; }; f; f a; f "a b" "" c; set -- ""; show "$@" $@ "$#"',
    "slices of positionals": 'show "${@:2}" "${@: -1}" "${@:1:1}" ${#@} "${*:2}"; n=2; show "${!n}" "${!#}"',
    "arrays": 'a=(1 "2 3" x); show ${a[@]} "${a[@]}" ${#a[@]} "${a[0]}" $a ${a[-1]}; a+=(z); '
    'show "${a[@]:1:2}" "${!a[@]}"; a[10]=k; show "${#a[@]}" "${!a[@]}" "${a[*]}"',
    "arrays of themselves": 'a=(1 2); a=(0 "${a[@]}"); show "${a[@]}"; a+=(x "${#a[@]}" {p,q} "${!a[@]}"); show "${a[@]}"; '
    'a=(1 2); a=([0]="${a[1]}" [1]="${a[0]}" "${#a[@]}"); show "${a[@]}"',
    "locals without a value": "export A=1; f() { local A; show; A=2; show; g; }; g() { local A; show; unset A; show; }; f; show",
    "leaving a loop from a function": 'f() { local v=1; for i in 1; do break 2; done; }; for x in a b; do f q r; done; show "$@" ${v-unset}',
    "braces in declarations": 'v="1 2"; export A={x,${v}}; show "$A"; export B=~/h{,"q r"}; show "$B"; C=; declare C+={a,b}; show "$C" z=~/k{,q}',
    "empty arrays": 'a=(); show "${a[@]}" x ${a[@]} "${a[*]}" "${#a[@]}" "${a[@]:-d}" "x${a[@]}y"',
    "each of an array": 'a=(--a "b c"); show "${a[@]/#/x}" "${a[@]%c}" "${a[@]^}"; unset "a[0]"; show "${!a[@]}"',
    "associative arrays": 'declare -A m=([k]=v ["a b"]="c d" [foo-bar]=1); k=foo-bar; m[z]+=9; '
    'show "${m[k]}" "${m["a b"]}" ${#m[@]} "${m[$k]}" ${m[foo-bar]} ${m[no]:-none} ${m[z]}',
    "defaults": 'unset Q; show "${Q:-d e}" ${Q:-d e} "${Q-}" ${Q:+z} ${Q:=new} $Q ${#Q} "${Q:-"q w"}" "${E-\'q\'}"',
    "ends": "p=/a/b.c/d.tar.gz; show ${p%.*} ${p%%.*} ${p#*/} ${p##*/} ${p/%gz/x} ${p/#\\/a/y} ${p//\\//_}",
    "substrings": 'x=abcde; show ${x:1} ${x: -2} ${x:0:-1} ${x:9} "${x:3}" ${x:1:1} ${x//[!b]/_} "${x/b/$x}" ${x^^} ${x^}',
    "quoted patterns": "x='a*b'; show \"${x#'a*'}\" \"${x#a*}\" \"${x/'*'/-}\" ${x/\\*/+}",
    "indirection": "x=A; A=val; y='a[1]'; a=(0 one); r='a[@]'; show ${!x} ${!y} \"${!r}\"",
    "arithmetic": "i=3; show $((i+1)) $((i*2**3)) $((i++)) $i $((--i)) $((1?2:3)) $((0x1f)) $((010)) $(( (1+2)*3 )) "
    "$((7/2)) $((-7/2)) $((-7%3)) $((1<<4|3)) $((~5)) $((!0)) $((1,2)) $((i>2&&i<9)) $((16#ff))",
    "arithmetic commands": 'i=0; ((i+=5)); let j=i*2 "k = 3"; x="i+1"; show $i $j $k $((x*2)) $(( $x*2 )); z[2]=7; ((z[3]=z[1+1]*2)); show "${z[@]}"',
    "integers and cases": "declare -i n=1+2; n+=4; declare -u U=abc; declare -l L=ABC; show $n $U $L",
    "lists of loops": 'for x in a b "c d"; do show $x; done; set -- u "v w"; for x; do show "$x"; done; for x in; do show no; done',
    "counted loops": "for ((i=0;i<3;i++)); do show $i; done; n=0; while [ $n -lt 3 ]; do show $n; n=$((n+1)); done; until ((n==0)); do ((n--)); done; show $n",
    "leaving loops": "for x in 1 2 3; do for y in a b; do [ $x = 2 ] && continue 2; [ $y = b ] && break; show $x $y; done; done; "
    "i=0; while true; do i=$((i+1)); [ $i -gt 3 ] && break; show $i; done; show end",
    "conditions": 'if [[ a == a* && -z "" ]]; then show yes; else show no; fi; if [ "x" = "y" ]; then show no; elif test 3 -gt 2; then show elif; fi; '
    "! false && show neg; false || show or; true && false || show chain",
    "tests": '[ ! a = b ] && show v; [ a = a -a b = b ] && show w; [ "" ] || show e; [ -n "" -o x ] && show o; test ! "" && show n; [ -z ] && show z; [[ 5 -gt 3+1 ]] && show 6',
    "patterns": "p='a*'; [[ abc == $p ]] && show 4; [[ abc == \"$p\" ]] || show 5; [[ abc == a?c ]] && show 1; [[ abc != x* ]] && show 3; [[ ab == @(ab|cd) ]] && show ext",
    "regular expressions": '[[ v1.20 =~ v([0-9]+)\\.([0-9]+) ]] && show "${BASH_REMATCH[@]}"; [[ abc =~ "b." ]] || show quoted',
    "cases": 'case abc in a*) show 1;;& *c) show 2;& zz) show 3;; *) show 4;; esac; case "x y" in "x y") show q;; esac; case foo in (bar|foo) show s;; esac; case x in a) ;; esac; show $?',
    "functions": 'f() { g "$@"; show f "$1" "$x"; }; g() { set -- z; shift; show g $#; local y=1; x=2; return 4; show no; }; x=1; f q; show "${y-un}"; g; show $?',
    "locals": 'x=5; f() { local x; show "${x-unset}"; x=6; g; show $x; }; g() { show $x; x=7; }; f; show $x; h() { local A=7; show; }; export A=1; h; show',
    "recursion": 'f() { show "$@" "$#"; if [ $# -gt 0 ]; then shift; f "$@"; fi; }; f 1 2 3',
    "arguments": 'set -- -b val --x=1 pos; while [[ $# -gt 0 ]]; do case "$1" in -b) B="$2"; shift 2;; --*=*) show "${1%%=*}" "${1#*=}"; shift;; *) show pos "$1"; shift;; esac; done; show "$B"',
    "getopts": 'set -- -ac -b val -bx rest; while getopts "ab:c" o; do case $o in a) show a;; b) show "b $OPTARG";; *) show $o;; esac; done; shift $((OPTIND-1)); show "$@"',
    "directories": 'cd sub; show; cd deep; show; cd ..; pushd deep; show; popd; show; cd -; show; (cd /; show); show; cd "$(dirname "$0")"; show "$(basename "$0" .sh)"',
    "braces": 'v=1; show {a,b}{1..3} x{,y} {01..03} {a..e..2} "{a,b}" {a} {} a{b,c{d,e}}f {3..1} {1..$v} {"a,b",c\\,d}',
    "tildes": 'v=~/q:~/r; show ~ ~/x a=~/y "~" x~ $v; P=x:~/b; show $P',
    "dollar quotes": "show $'a\\tb\\x41\\101\\u00e9\\'' $\"loc\"",
    "quotes": 'show "a\\$b\\`\\"\\\\\\q" a\\ b\\$c \'x\\y\' a"b"\'c\'\\d "" \'\' "a""b" a#b # comment',
    "substitutions": 'x="$(echo a b)"; show "$x" $x `echo "q r"` $(basename /a/b.sh .sh) $(dirname /a/b) $(seq 1 3) "$(printf \'%s-%02d\\n\' a 3)" $(true) "$(echo; echo x; echo)"',
    "brackets in settings": "v=a; show logger=['console','wandb'] files=[$v/x.json,'b c'] a.b=[1]/[2] [x]=1; set -f; show k=[v]; "
    "set +f; shopt -s nullglob; show x; shopt -u nullglob; show k=[v]",
    "set -a": "A=1; C=; set -a; B=2; C+=3; unset A; A=4; f() { local X=5; show; }; f z; for X in 6; do show; done; set +a; B=7; X=8; show; "
    "set -o allexport; read -r C <<< 9; set +o allexport; show",
    "ambiguous redirects": 'v="a b"; show x > $v; show "$?" > "$v"; { show y; } >> $v; E=; show z > $E || show "$?"; '
    "(show w) 2> $v; if show u > $v; then show yes; else show no; fi",
    "a backslash at the end of a text": "eval 'show a\\'; bash -c 'show b\\'",
    "expr": "N=3; show $(expr 16 / $N) $(expr 16 % $N) $(expr -7 / 2) $(expr 010 + 1) $(expr 2 - 5) $(expr $N \\* 4) $(expr 64 / $N / 2) $(expr 1 + 2 - 5) $(expr 7 % 4 \\* 2); "
    'if x=$(expr 1 - 1); then show yes; else show "no $x"; fi',
    "grep -o": 'G=0,1,2; N=$((1 + $(echo ${G} | grep -o "," | wc -l))); G=0; M=$((1 + $(echo $G | grep -o , | wc -l))); '
    'show $N $M; if x=$(echo 0 | grep -o ,); then show yes; else show "no $x"; fi; set -o pipefail; x=$(echo 0 | grep -o , | wc -l) || show failed $x',
    "counts": "N=$(echo \"0,1,2,3\" | tr ',' '\\n' | wc -l); M=$(echo a:b:c | cut -d: -f2); K=$(echo 1,2 | awk -F, '{print NF}'); show $N $M $K",
    "statuses": "true; show $?; false; show $?; ! true; show $?; (exit 4); show $?; x=$(exit 3); show $?; ((0)); show $?; x=1; show $?",
    "reading": 'IFS=, read -ra g <<< "0,1,2"; show ${#g[@]} "${g[@]}"; read a b <<< "x y z"; show "$a" "$b"; read -r l <<< "  lead  "; show "$l"; mapfile -t m <<< $\'a\\nb c\'; show "${#m[@]}" "${m[1]}"',
    "files of variables": "printf '# c\\n\\nA=1\\nB=x # no\\n # d\\nC=\"q r\"' > .env; (export $(cat .env | sed 's/#.*//g' | xargs); show); "
    "(export $(grep -v '^#' .env | xargs); show); (export $(sed -e '/^#/d' -e 's/ *#.*$//' .env); show); (set -a; . ./.env; show); "
    "while IFS='=' read -r k v; do [[ -z $k || $k == *\\#* ]] && continue; export \"$k=$v\"; done < .env; show; "
    'while read -r l || [ -n "$l" ]; do show "$l"; done < .env; while read l; do show $l; done <<< $\'e f\\ng\'; (set -e; export \'#\' A=7; show; show no) || show "$A"',
    "written files": "echo 'A=1' > f; . ./f; show; printf 'B=%s\\n' 2 >> f; cat >> f <<E\nC=$((1 + 2))\nshow in $0\nE\n. ./f; bash f; echo 'show $1' > s.sh; bash ./s.sh p; "
    "(cd sub; echo A=4 > f; . ../f; show); . sub/f; show; tee f <<< 'A=5' > /dev/null; . ./f; show",
    "here-documents": 'v=1; w=$(cat <<E\ngot $v \\$x\n\tt\nE\n); show "$w"; w=$(cat <<\'E\'\nraw $v\nE\n); show "$w"; read -r -d \'\' T <<-E || true\n\tline $v\n\t\tx\n\tE\nshow "$T"',
    "evaluation": 'eval \'show evaled $((1+1))\'; eval "x=5"; show $x; B=2; export B; A=3; bash -c \'show $0 "$1" "[${A-no}]" $B\' zero \'o ne\'; sh -c "show $x"; A=1 bash -c \'show "$A"\'',
    "groups": "{ show in; A=1; }; ( A=2; export A; show; exit 3 ); show $A $?; { show bg; } & wait",
    "pipes": "set -o pipefail; true | false || show pf; set +o pipefail; false | true && show np; show a 2>&1 | tee log > /dev/null; show b | cat",
    "errexit": "set -e; show 1; false || true; if false; then :; fi; ((0)) || show zero; f() { false; show no; }; f; show never",
    "exits": "f() { show x; exit 0; show no; }; (f); show y; f; show z",
    "commands in variables": 'cmd=(show "a b" c); "${cmd[@]}" d; c="show  q"; $c e; opts="--x 1 --y"; show $opts "$opts"',
    "printf": "printf -v s '%s,' a b c; printf -v t '%d-%05.1f|' 3 2 || true; printf -v u '%-4s|%03d' x 7; show \"${s%,}\" \"$u\"",
    "unicode": 'x="héllo wörld"; show ${#x} "${x:1:3}" "${x^^}"',
    "continued lines": "show a \\\n  b \"c \\\n d\" 'e \\\n f'\\\ng",
}
"""A construct each; the last ones are those that people copy from each other."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, list[Seen]]:
    cases = [Case(text + "\n", ("one", "two words", "three")) for text in SCRIPTS.values()]
    return dict(zip(SCRIPTS, by_bash(folder, cases), strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_construct_is_read_as_bash_runs_it(name: str, seen: dict[str, list[Seen]]) -> None:
    case = Case(SCRIPTS[name] + "\n", ("one", "two words", "three"))
    assert seen[name], "bash called nothing"
    assert by_reading(case)[0] == seen[name]


@pytest.mark.slow
@settings(max_examples=max(2, EFFORT.examples // 5), deadline=None, phases=PHASES)
@given(cases=st.lists(scripts(), min_size=TOGETHER, max_size=TOGETHER))
def test_random_scripts_are_read_as_bash_runs_them(
    cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    for case, calls in zip(cases, by_bash(folder, cases), strict=True):
        assert by_reading(case)[0] == calls


@pytest.mark.slow
@settings(max_examples=max(2, EFFORT.examples // 5), deadline=None, phases=PHASES)
@given(
    cases=st.lists(scripts(may_ask=True), min_size=TOGETHER, max_size=TOGETHER),
    answers=st.text("01", min_size=12, max_size=12),
)
def test_what_bash_does_is_among_what_was_read(
    cases: list[Case], answers: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Conditions that nobody knows: every call was foreseen, and those without one happen."""
    folder = tmp_path_factory.mktemp("random")
    for case, calls in zip(cases, by_bash(folder, cases, answers), strict=True):
        foreseen = calls_of(case)
        assert all(any(_fits(call, one) for call in foreseen) for one in calls), case.text
        if not any(call.repeated for call in foreseen):
            assert _is_among(calls, foreseen), case.text


def _is_among(calls: list[Seen], foreseen: list[Call]) -> bool:
    """Whether the calls are those foreseen, in their order, but for some with conditions."""
    places = {0}
    for one in [*calls, None]:
        reached: set[int] = set()
        for start in places:
            for place in range(start, len(foreseen)):
                if one is not None and _fits(foreseen[place], one):
                    reached.add(place + 1)
                if not foreseen[place].conditions:
                    break
            else:
                if one is None:
                    return True
        places = reached
    return False


def _fits(call: Call, one: Seen) -> bool:
    said = seen_as(call)
    values = [*said.words, said.cwd, *said.environ]
    happened = [*one.words, one.cwd, *one.environ]
    if any(value.unknowns for value in call.words):
        words = _holds(call.words[1:], " ".join(one.words))
        return words and _all_fit(call, said, one)
    return len(said.words) == len(one.words) and (values == happened or _all_fit(call, said, one))


def _all_fit(call: Call, said: Seen, one: Seen) -> bool:
    if not any(word.unknowns for word in call.words) and said.words != one.words:
        return False
    pairs = [(call.cwd, said.cwd, one.cwd)]
    pairs += [
        (call.environ.get(name, Value()), mine, theirs)
        for name, mine, theirs in zip(("A", "B", "C", "X"), said.environ, one.environ, strict=True)
    ]
    return all(bool(value.unknowns) or mine == theirs for value, mine, theirs in pairs)


def _holds(words: Sequence[Value], text: str) -> bool:
    """Whether what is known of words is in a text, in order; the rest may be anything."""
    at = 0
    for word in words:
        for part in word.parts:
            if isinstance(part, str):
                at = text.find(part, at)
                if at < 0:
                    return False
                at += len(part)
    return True
