#!/usr/bin/env bash
# Everything that must pass: lint, format, types, tests.
#
#   bash scripts/test.sh [--fast] [PYTEST OPTIONS...]
#
# --fast  leaves out the tests that run the real engines and most whole runs with a fake one
#         (markers "engine" and "slow")
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=true
marked="not engine"
setup=(--dev)
if [ "${1:-}" = --fast ]; then
  shift
  engine=false
  marked="not engine and not slow"
  setup+=(--no-engine)
else
  export GRPO_LAUNCH_GRAPHS="${GRPO_LAUNCH_GRAPHS:-500}" # graphs of extends, through composition
  export GRPO_LAUNCH_TRIALS="${GRPO_LAUNCH_TRIALS:-300}" # randomised ends of a run
fi

bash scripts/setup.sh "${setup[@]}"
export PATH="$PWD/.venv/bin:$PATH"
set -x
ruff check .
ruff format --check .
basedpyright
python -m pytest -m "$marked" -n 2 "$@"
if [ "$engine" = true ]; then
  # One after the other: two engines would not fit beside each other on a small machine.
  python -m pytest -m engine "$@"
fi
