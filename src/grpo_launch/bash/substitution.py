"""What ``$(...)`` prints, where only commands stand in it that are understood."""

from __future__ import annotations

from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.shell import Capture, FatalError, Frame, Shell
from grpo_launch.bash.syntax import Node

_DEEPEST = 30


def printed(shell: Shell, node: Node) -> Value:
    """The output of a command substitution, without the line feeds at its end."""
    text = shell.source.text(node)
    statements = node.get("Stmts") or []
    if len(statements) == 1 and not statements[0].get("Cmd"):
        return joined(Unknown(Kind.FILE, text))  # $(< file)
    if shell.context.depth > _DEEPEST:
        return joined(Unknown(Kind.COMMAND, text))
    capture = Capture()
    before = shell.state
    remarks = len(shell.record.remarks)
    shell.state = before.copy()
    frame = Frame()
    inside = {
        "capture": capture,
        "loops": (),
        "function": None,
        "subshell": frame,
        "stdin": None,
        "redirects": (),
        "depth": shell.context.depth + 1,
        "tested": True,
    }
    try:
        with shell.within(**inside):
            alive = shell.walk(shell, statements)
            shell.join([*frame.left, *([shell.state] if alive else [])])
        status, before.files = shell.state.status, shell.state.files
    except FatalError:
        capture.is_known = False
        status = None
    finally:
        shell.state = before
    if not capture.is_known:
        del shell.record.remarks[remarks:]
        shell.record.substituted.append(None)
        return joined(Unknown(Kind.COMMAND, text))
    shell.record.substituted.append(status)
    return _stripped(joined(*capture.values))


def _stripped(value: Value) -> Value:
    if not value.parts or not isinstance(value.parts[-1], str):
        return value
    return joined(*value.parts[:-1], value.parts[-1].rstrip("\n"))
