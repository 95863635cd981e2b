#!/usr/bin/env bash
# Everything that must pass: lint, format, types, tests.
#
#   bash scripts/test.sh [--fast | --nightly] [PYTEST OPTIONS...]
#
# --fast     leaves out the tests that run the real engines and most whole runs with a fake one
#            (markers "engine" and "slow"), and tries few examples of each property
# --nightly  everything, with ten times the examples, all mutated files and 1,000 runs that are
#            ended at random
#
# Without either: what continuous integration runs. HYPOTHESIS_PROFILE=fast, medium or full says
# otherwise how much is tried; tests/effort.py has the numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=true
marked="not engine"
setup=(--dev)
profile=medium
timeout=()
case "${1:-}" in
  --fast)
    shift
    engine=false
    marked="not engine and not slow"
    setup+=(--no-engine)
    profile=fast
    ;;
  --nightly)
    shift
    profile=full
    timeout=(--timeout 900)
    ;;
esac
export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-$profile}"

bash scripts/setup.sh "${setup[@]}"
export PATH="$PWD/.venv/bin:$PATH"
set -x
ruff check .
ruff format --check .
basedpyright
python -m pytest -m "$marked" -n 2 --dist worksteal "${timeout[@]}" "$@"
if [ "$engine" = true ]; then
  # One after the other: two engines would not fit beside each other on a small machine.
  python -m pytest -m engine "$@"
fi
