"""Random scripts of what is understood, so that bash and the reader must say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.bash.real import Case, quote

SCALARS = ("v", "w", "A", "B", "X")
ARRAYS = ("a", "b")

TEXTS = st.text("ab1 x,/.-_:=", max_size=6)
NUMBERS = st.integers(-9, 99)
PATTERNS = st.sampled_from(
    ["a*", "*a", "?", "*", "[ab]*", "*/", "x", "'a'*", '"$v"', "$w*", "*[!a]"]
)


@dataclass(frozen=True)
class Room:
    """What may stand here.

    Attributes:
        depth: how many compound commands may still be nested.
        in_loop: whether ``break`` has a meaning.
        in_function: whether ``local`` and ``return`` have one.
        may_ask: whether conditions may be such that nobody knows.
    """

    depth: int = 2
    in_loop: bool = False
    in_function: bool = False
    may_ask: bool = False


@st.composite
def arithmetic(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["n", "m", "n", "3", "0x1f", "010", "7", "$n", "${m}"]))
    left, right = draw(arithmetic(depth - 1)), draw(arithmetic(depth - 1))
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return f"({left}) ? {right} : {left}"
    if kind == 1:
        return f"-({left})"
    if kind == 2:
        return f"!({left}) + ~({right})"
    operator = draw(st.sampled_from([*"+-*&|^<>", "==", "!=", "&&", "||", "<=", "**"]))
    if operator == "**":
        return f"({left}) ** 2"
    return f"{left} {operator} ({right})"


def _of_scalar(name: str) -> st.SearchStrategy[str]:
    forms = [
        *("${%s}", "${%s:-d e}", "${%s-d}", "${%s:+p q}", "${#%s}", "${%s%%a*}", "${%s%%%%x*}"),
        *("${%s#*a}", "${%s##*/}", "${%s/a/b}", "${%s//x/}", "${%s/#a/z}", "${%s/%%a/z}"),
        *("${%s:1}", "${%s:0:2}", "${%s:1:1}", "${%s: -1}", "${%s^^}", "${%s^}", "${%s,,}"),
        *("${%s:-$w}", '${%s:-"d  e"}', "${%s//[ab]/-}", '${%s#"$w"}', "${%s/$w/.}"),
    ]
    return st.sampled_from([form % name for form in forms])


@st.composite
def expansion(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 5))
    if kind <= 1:
        return draw(_of_scalar(draw(st.sampled_from(SCALARS))))
    if kind == 2:
        array = draw(st.sampled_from(ARRAYS))
        forms = ["${%s[@]}", "${%s[*]}", "${#%s[@]}", "${%s[0]}", "${%s[1]}", "${!%s[@]}"]
        forms += ["${%s[@]:1}", "${%s[@]:0:1}", "${%s[@]/a/b}", "${%s[@]%%x}", "${%s}"]
        return draw(st.sampled_from([form % array for form in forms]))
    if kind == 3:
        return draw(st.sampled_from(["$1", "${2}", "$#", "$@", "$*", "${@:2}", "${#1}", "${1:-k}"]))
    if kind == 4:
        return f"$(({draw(arithmetic())}))"
    return draw(substitution())


@st.composite
def substitution(draw: st.DrawFn) -> str:
    word = draw(st.sampled_from(["$v", '"$w"', "'q  r'", '"$@"', "a,b", '"${a[@]}"']))
    forms = ["$(echo %s)", "`echo %s`", "$(printf '%%s-' %s)", "$(echo %s | tr a-x A-X)"]
    forms += ["$(echo -n %s z; echo)", "$(x=%s; echo $x)"] if "@" not in word else []
    forms += [
        "$(basename /p/q.sh .sh)",
        "$(dirname /p/q)",
        "$(seq 1 3)",
        "$(echo 1,2 | tr , '\\n' | wc -l)",
    ]
    form = draw(st.sampled_from(forms))
    return form % word if "%s" in form.replace("%%s", "") else form.replace("%%", "%")


@st.composite
def word(draw: st.DrawFn) -> str:
    result = ""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.integers(0, 8))
        if kind <= 1:
            result += draw(
                st.sampled_from(["k", "--flag=", "p.q", "a:b", "\\ ", "\\$", "k=", ",", "\\\\"])
            )
        elif kind == 2:
            result += quote(draw(TEXTS))
        elif kind in (3, 4):
            inside = draw(st.sampled_from(["", " ", "in ", "\\$", "\\\\", "'", "\\q", "~"]))
            result += f'"{inside}{draw(expansion())}"'
        elif kind in (5, 6):
            result += draw(expansion())
        elif kind == 7:
            result += draw(
                st.sampled_from(["{a,b}", "{1..3}", "{x,${v}}", '{,"q r"}', "{c}", "{a..c}"])
            )
        else:
            result += draw(st.sampled_from(["$'t\\t\\x41'", '""', "''", '$"l"', "~/h"]))
    return result


@st.composite
def single(draw: st.DrawFn) -> str:
    """A word behind ``=``."""
    return draw(word())


@st.composite
def condition(draw: st.DrawFn, room: Room) -> str:
    if room.may_ask and draw(st.booleans()):
        return draw(st.sampled_from(["maybe", "maybe x", "! maybe", "maybe && maybe"]))
    forms = [
        *('[ -z "$%s" ]', '[ -n "$%s" ]', '[ "$%s" = a ]', "[[ $%s == a* ]]", "[[ -n $%s ]]"),
        *(
            '[[ $%s == "$w" ]]',
            '[[ $%s != *x && -z "" ]]',
            "! [[ $%s = ?* ]]",
            "[[ $%s =~ ^a.*x ]]",
        ),
        *('test "$%s" != b', '[ $# -gt 1 ] && [ "$%s" ]', "[[ -z $%s || $# -eq 0 ]]"),
        *('[ "$%s" == x -o 1 -lt 2 ]', "[[ -v %s ]]", '[ ! "$%s" ]'),
    ]
    if draw(st.booleans()):
        return draw(st.sampled_from(forms)) % draw(st.sampled_from(SCALARS))
    return draw(
        st.sampled_from(["true", "false", ":", "(( n > m ))", f"(( {draw(arithmetic())} ))"])
    )


def block(room: Room) -> st.SearchStrategy[str]:
    return st.lists(statement(room), min_size=1, max_size=3).map("\n".join)


@st.composite
def simple(draw: st.DrawFn, room: Room) -> str:
    kind = draw(st.integers(0, 16))
    name = draw(st.sampled_from(SCALARS))
    array = draw(st.sampled_from(ARRAYS))
    words = " ".join(draw(st.lists(word(), max_size=3)))
    if kind <= 4:
        prefix = f"{name}={draw(single())} " if kind == 0 else ""
        return f"{prefix}show {words}"
    if kind <= 6:
        operator = draw(st.sampled_from(["=", "=", "+="]))
        return f"{name}{operator}{draw(single())}"
    if kind == 7:
        return draw(
            st.sampled_from(
                [f"export {name}", f"export {name}={draw(single())}", f"export -n {name}"]
            )
        )
    if kind == 8:
        return draw(st.sampled_from([f"unset {name}", f"declare {name}={draw(single())}"]))
    if kind == 9:
        return draw(
            st.sampled_from(
                [f"{array}=({words})", f"{array}+=({words})", f"{array}[2]={draw(single())}"]
            )
        )
    if kind == 10:
        return draw(
            st.sampled_from(["n=$((n+1))", "((n++))", "((m -= 2))", "let n=m+1", "((n=m*2, m=1))"])
        )
    if kind == 11:
        return f"set -- {words}" if draw(st.booleans()) else "shift"
    if kind == 12 and room.in_function:
        return draw(
            st.sampled_from([f"local {name}={draw(single())}", f"local {name}", "return 3"])
        )
    if kind == 13 and room.in_loop:
        return draw(st.sampled_from(["break", "continue", "break 2", "[ $n = 1 ] && continue"]))
    if kind == 14:
        return f"{draw(st.sampled_from(['f', 'g']))} {words}"
    if kind == 15:
        return draw(
            st.sampled_from(
                [
                    '(exit 3); show "$?"',
                    f"read -r {name} w <<< {draw(single())}",
                    f'eval "{name}=q; show e"',
                ]
            )
        )
    return f"IFS=, read -ra {array} <<< {draw(single())}"


@st.composite
def statement(draw: st.DrawFn, room: Room) -> str:
    if room.depth == 0 or draw(st.integers(0, 2)):
        return draw(simple(room))
    inner = Room(room.depth - 1, room.in_loop, room.in_function, room.may_ask)
    looping = Room(room.depth - 1, True, room.in_function, room.may_ask)
    kind = draw(st.integers(0, 9))
    if kind == 0:
        other = f"\nelse\n{draw(block(inner))}" if draw(st.booleans()) else ""
        elif_ = (
            f"\nelif {draw(condition(room))}; then\n{draw(block(inner))}"
            if draw(st.booleans())
            else ""
        )
        return f"if {draw(condition(room))}; then\n{draw(block(inner))}{elif_}{other}\nfi"
    if kind == 1:
        patterns = draw(st.lists(PATTERNS, min_size=1, max_size=3))
        ends = draw(st.lists(st.sampled_from([";;", ";;", ";&", ";;&"]), min_size=3, max_size=3))
        items = "\n".join(
            f"{p}) {draw(block(inner))}\n{e}" for p, e in zip(patterns, ends, strict=False)
        )
        return f"case {draw(st.sampled_from(['$v', '$A', 'abx', '$1']))} in\n{items}\nesac"
    if kind == 2:
        words = " ".join(draw(st.lists(word(), max_size=3)))
        name = draw(st.sampled_from(["v", "k", "A"]))
        return f"for {name} in {words}; do\n{draw(block(looping))}\ndone"
    if kind == 3:
        i = f"i{room.depth}"
        head = f"for (({i}=0; {i}<{draw(st.integers(0, 3))}; {i}++))"
        return f"{head}; do\n{draw(block(looping))}\nshow ${i}\ndone"
    if kind == 4:
        head = draw(st.sampled_from(["while (( %s++ < 3 ))", "until [ $((%s++)) -ge 2 ]"]))
        j = f"j{room.depth}"
        return f"{j}=0\n{head % j}; do\n{draw(block(looping))}\nshow ${j}\ndone"
    if kind == 5:
        return f"(\n{draw(block(inner))}\n)"
    if kind == 6:
        return f"{{ {draw(block(inner))}\n}}"
    if kind == 7:
        operator = draw(st.sampled_from(["&&", "||"]))
        return f"{draw(condition(room))} {operator} {draw(simple(room))}"
    if kind == 8:
        return f"{draw(condition(room))} && show yes || show no"
    # All of them are there, however they are nested: the reader takes it that cd succeeds.
    place = draw(st.sampled_from(["sub", "sub/sub", "./sub", '"$PWD/sub"', '"$(pwd)/./sub"']))
    return f"(cd {place}\n{draw(block(inner))}\ncd - >/dev/null\nshow)"


PRELUDE = """\
set -- "$@"
v={v}; w={w}; A=a1; n=2; m=5; k=
export B={w}
unset X
a=(one "two x"); b=()
f() {{
{f}
}}
g() {{
{g}
}}
"""


@st.composite
def scripts(draw: st.DrawFn, may_ask: bool = False) -> Case:
    inside = Room(depth=1, in_function=True, may_ask=may_ask)
    # The prelude says all arguments: whether a caller has more than were given, nobody knows, and
    # a shift soon asks. A function that calls another would call it again and again.
    bodies = draw(st.lists(block(inside), min_size=2, max_size=2))
    f, g = (_without_calls(body) for body in bodies)
    prelude = PRELUDE.format(v=quote(draw(TEXTS)), w=quote(draw(TEXTS)), f=f, g=g)
    body = draw(st.lists(statement(Room(may_ask=may_ask)), min_size=1, max_size=6))
    arguments = draw(st.lists(TEXTS.filter(bool), min_size=2, max_size=3))
    settings = draw(st.dictionaries(st.sampled_from(["C", "A"]), TEXTS, max_size=1))
    text = prelude + "\n".join(body) + "\nshow end\n"
    return Case(text, tuple(arguments), tuple(settings.items()))


def _without_calls(body: str) -> str:
    """``f`` and ``g`` at the beginning of a command are ``show``."""
    return re.sub(r"(?m)(^|[){] |&& |\|\| )[fg] ", r"\1show called ", body)
