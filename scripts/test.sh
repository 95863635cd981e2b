#!/usr/bin/env bash
# Everything that must pass: lint, format, types, tests.
#
#   bash scripts/test.sh [--fast | --nightly] [PYTEST OPTIONS...]
#
# --fast     in a minute and a half after lint and types: leaves out the tests that run the real
#            engines, and those that take half a second or more, as whole runs with a fake engine do
#            (markers "engine" and "slow"). Of a table whose rows compose an experiment or start a
#            process each (marker "costly", fixture "project") it tries the first row: that says
#            whether the feature works, the others are for continuous integration and for who works
#            on it, with pytest and the file's name. It tries few examples of each property
# --nightly  everything, with ten times the examples, all mutated files, 1,000 runs that are ended
#            at random, and twice as many runs of the real engines
#
# Without either: what continuous integration runs, in at most 42 minutes on two cores: of whole runs
# that differ in one thing only the first (marker "slow" without every_row). It tries the oldest
# Python, 3.10, as well, and --nightly 3.13 too, where they are installed: what is not slow, with one
# example of each parametrized test, because another Python breaks functions and not rows of a table.
# HYPOTHESIS_PROFILE=fast, medium or full says otherwise how much is tried; tests/effort.py has the
# numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=true
versions=(3.10)
marked="not engine"
profile=medium
more=(--one-of-each=slow)
installing=()
case "${1:-}" in
  --fast)
    shift
    engine=false
    versions=()
    marked="not engine and not slow"
    more=(--one-of-each=costly)
    profile=fast
    ;;
  --nightly)
    shift
    profile=full
    more=(--timeout 900)
    versions=(3.10 3.13)
    export GRPO_LAUNCH_NIGHTLY=1
    ;;
esac
export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-$profile}"
# Else each process would compile all tests again, and pytest rewrite their asserts: half of what
# it takes to collect them.
unset PYTHONDONTWRITEBYTECODE

trap wait EXIT # for what goes on in the background
if [ "$engine" = true ]; then
  # Side by side: pip works on one core.
  bash scripts/setup_engine.sh swift &
  installing=($!)
  bash scripts/setup_engine.sh llamafactory &
  installing+=($!)
fi
bash scripts/setup.sh --dev --no-engine
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
pythons=()
for version in "${versions[@]}"; do
  if is_version .venv/bin/python "$version"; then
    echo "test: Python $version is that of .venv" >&2
  elif python="$(find_version "$version")"; then
    echo "test: Python $version is $python" >&2
    install_launcher "$python" ".venv-$version" plot,test
    pythons+=("$PWD/.venv-$version/bin")
  else
    echo "test: Python $version was not found, nothing is tried with it" >&2
  fi
done
export PATH="$PWD/.venv/bin:$PATH"
set -x
ruff check .
ruff format --check .
basedpyright
{ set +x; } 2>/dev/null
for each in "${installing[@]}"; do
  wait "$each"
done
set -x
# Many tests wait for processes: three keep two cores busy.
python -m pytest -m "$marked" -n 3 --dist worksteal "${more[@]}" "$@"
{ set +x; } 2>/dev/null
[ "$engine" = true ] || exit 0

try_others() { # PYTEST_OPTIONS...
  renice -n 19 "$BASHPID" >/dev/null
  local bin
  for bin in "${pythons[@]}"; do
    # By its own path: nothing of .venv may be found.
    PATH="$bin:${PATH#*:}" HYPOTHESIS_PROFILE=fast python -m pytest \
      -m "not engine and not slow" --one-of-each "$@"
  done
}

# Two engines at once, as a start of one is mostly a single thread; what shares one stays together.
# The other versions get what is left.
log="$(mktemp)"
try_others "$@" >"$log" 2>&1 &
status=0
(set -x && python -m pytest -m engine -n 2 --dist loadgroup "$@") || status=$?
wait $! || status=$?
cat "$log"
rm "$log"
exit "$status"
