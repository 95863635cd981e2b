"""The program that runs a Python file for one of its variables; see ``python_file``.

Started by its path, with the file, the directory that holds this package, the descriptor to write
the result to, and the names of variables, of which the first that is there counts. The result is
JSON: ``value``, or what went wrong (``python_file.Outcome``).
"""

import sys
from typing import Any


def main() -> int:
    """Run the file and write what became of it; returns the exit status."""
    import json
    import os
    from pathlib import Path

    _, file, packages, descriptor, *names = sys.argv
    own = str(Path(__file__).parent)
    # As ``python FILE`` has it; this package last, for where it is not installed.
    sys.path[:] = [str(Path(file).parent), *(x for x in sys.path if x != own), packages]
    sys.argv = [file]
    result = _result(file, names)
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as stream:
        json.dump(result, stream)
    return 0 if "value" in result else 1


def _result(file: str, names: list[str]) -> dict[str, Any]:
    import runpy

    try:
        variables = runpy.run_path(file, run_name="__config__")
    except SyntaxError as error:
        if error.filename != file:
            return _failed(file, error)
        return {"malformed": error.msg, "line": error.lineno, "column": error.offset}
    except BaseException as error:  # SystemExit as well
        return _failed(file, error)
    name = next((name for name in names if name in variables), None)
    return {"unset": names} if name is None else _plain(name, variables[name])


def _plain(name: str, value: Any) -> dict[str, Any]:
    """The value of a variable as JSON holds it."""
    import json
    import os

    shown = repr(value)[:200]
    if not isinstance(value, type) and callable(convert := getattr(value, "as_dict", None)):
        value = convert()
    if not isinstance(value, dict):
        return {"unfit": f"{name} is {shown}"}
    try:
        return {"value": json.loads(json.dumps(value, default=os.fspath))}
    except (TypeError, ValueError, RecursionError) as error:
        return {"unfit": f"{name} holds what JSON does not ({error})"}


def _failed(file: str, error: BaseException) -> dict[str, Any]:
    import traceback

    trace, own = error.__traceback__, []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            own.append(trace)
        trace = trace.tb_next
    line = own[-1].tb_lineno if own else None
    if isinstance(error, SystemExit):
        return {"exits": str(error.code), "line": line}
    traceback.print_exception(type(error), error, own[0] if own else error.__traceback__)
    problems = getattr(error, "problems", None)
    if isinstance(problems, tuple) and problems:
        return {"problems": [str(problem) for problem in problems], "line": line}
    text = str(error).strip().splitlines()
    return {"raises": ": ".join([type(error).__name__, *text[:1]]), "line": line}


if __name__ == "__main__":
    sys.exit(main())
