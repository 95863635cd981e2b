#!/usr/bin/env bash
# Everything that must pass: lint, format, types, tests.
#
#   bash scripts/test.sh [--fast] [PYTEST OPTIONS...]
#
# --fast  leaves out the tests that run the real engines (marker "engine")
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=true
setup=(--dev)
if [ "${1:-}" = --fast ]; then
  shift
  engine=false
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
python -m pytest -m "not engine" -n 2 "$@"
if [ "$engine" = true ]; then
  # One after the other: two engines would not fit beside each other on a small machine.
  python -m pytest -m engine "$@"
fi
