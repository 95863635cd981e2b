#!/usr/bin/env bash
# The old command line of the web agent: collect, update, or both in a loop.
#
#   bash run.sh --data-path DIR --log-path DIR --rl-phase rollout|update|both [OPTIONS] [OVERRIDES...]
#
# It is turned into one of python -m grpo_launch, which is printed and run; --help has the options,
# docs/run_sh.md what each becomes. PYTHON chooses the interpreter.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ -z "${PYTHON:-}" ]; then
  PYTHON="$root/.venv/bin/python"
  [ -x "$PYTHON" ] || PYTHON=python3
fi
exec "$PYTHON" -m grpo_launch.cli.phases "$@"
