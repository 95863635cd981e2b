"""Run by the interpreter of an installed LLaMA-Factory: print what its templates put into prompts.

    PYTHON ask_templates.py > templates.json

Prints JSON: the version, and for each template its own system message and the markers around what
a user says (``<|im_start|>``, ``[INST]``).

Needs nothing of the launcher, only LLaMA-Factory 0.9.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import re
import sys

# What imports print must not get into the answer.
ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
# The modules beside this file are the launcher's: they must not hide the learner's.
HERE = str(pathlib.Path(__file__).resolve().parent)
sys.path[:] = [entry for entry in sys.path if entry != HERE]

from llamafactory.data.template import TEMPLATES  # noqa: E402

MARKER = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def markers(template):
    """The markers around what a user says, sorted."""
    slots = [slot for slot in template.format_user.slots if isinstance(slot, (str, dict))]
    texts = [slot if isinstance(slot, str) else slot["token"] for slot in slots]
    return sorted({found for text in texts for found in MARKER.findall(text)})


said = {
    name: {"markers": markers(template), "system": template.default_system}
    for name, template in sorted(TEMPLATES.items())
}
body = {"version": importlib.metadata.version("llamafactory"), "templates": said}
json.dump(body, ANSWER, indent=1, ensure_ascii=False, sort_keys=True)
ANSWER.write("\n")
ANSWER.close()
