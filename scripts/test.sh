#!/usr/bin/env bash
# Everything that must pass: lint, format, types, tests.
#
#   bash scripts/test.sh [--fast | --nightly] [PYTEST OPTIONS...]
#
# --fast     leaves out the tests that run the real engines and most whole runs with a fake one
#            (markers "engine" and "slow"), and tries few examples of each property
# --nightly  everything, with ten times the examples, all mutated files, 1,000 runs that are ended
#            at random, and twice as many runs of the real engines
#
# Without either: what continuous integration runs. It tries the oldest Python, 3.10, as well, and
# --nightly 3.13 too, where they are installed: the fast tests, with one example of each parametrized
# one, because another Python breaks functions and not rows of a table. HYPOTHESIS_PROFILE=fast,
# medium or full says otherwise how much is tried; tests/effort.py has the numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=true
versions=(3.10)
marked="not engine"
setup=(--dev)
profile=medium
timeout=()
case "${1:-}" in
  --fast)
    shift
    engine=false
    versions=()
    marked="not engine and not slow"
    setup+=(--no-engine)
    profile=fast
    ;;
  --nightly)
    shift
    profile=full
    timeout=(--timeout 900)
    versions=(3.10 3.13)
    export GRPO_LAUNCH_NIGHTLY=1
    ;;
esac
export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-$profile}"

bash scripts/setup.sh "${setup[@]}"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
export PATH="$PWD/.venv/bin:$PATH"
set -x
ruff check .
ruff format --check .
basedpyright
python -m pytest -m "$marked" -n 2 --dist worksteal "${timeout[@]}" "$@"
{ set +x; } 2>/dev/null
for version in "${versions[@]}"; do
  if is_version .venv/bin/python "$version"; then
    echo "test: Python $version is that of .venv" >&2
  elif python="$(find_version "$version")"; then
    echo "test: Python $version is $python" >&2
    install_launcher "$python" ".venv-$version" plot,test
    # By its own path: nothing of .venv may be found.
    PATH="$PWD/.venv-$version/bin:${PATH#*:}" HYPOTHESIS_PROFILE=fast python -m pytest \
      -m "not engine and not slow" --one-of-each -n 2 --dist worksteal "$@"
  else
    echo "test: Python $version was not found, nothing is tried with it" >&2
  fi
done
set -x
if [ "$engine" = true ]; then
  # One after the other: two engines would not fit beside each other on a small machine.
  python -m pytest -m engine "$@"
fi
