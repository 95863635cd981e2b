#!/usr/bin/env bash
# Start a run in the background, with logs/nohup_<tag>_<time>.{log,exit,pid} in the working directory.
#
#   bash start_nohup.sh --config FILE [OVERRIDES...]
#
# The same as: python -m grpo_launch launch=nohup role=both env=tpu config=FILE [OVERRIDES...]
# role= and env= may be among the overrides. PYTHON chooses the interpreter.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
  echo "error: $1" >&2
  exit 2
}

file=
overrides=()
while [ $# -gt 0 ]; do
  case "$1" in
    --config) [ $# -gt 1 ] || fail "--config: has no FILE, name an experiment's file"; file="$2"; shift 2 ;;
    --config=*) file="${1#--config=}"; shift ;;
    launch=* | launch/* | config=*) fail "$1: is what this script says, use python -m grpo_launch" ;;
    -* ) fail "$1: unknown option, use --config FILE [OVERRIDES...]" ;;
    *=* | "~"*) overrides+=("$1"); shift ;;
    *) fail "$1: is no override, write KEY=VALUE" ;;
  esac
done
[ -n "$file" ] || fail "--config: is missing, use --config FILE [OVERRIDES...]"
[ -f "$file" ] || fail "$file: there is no such file, correct --config"

# A quoted string of Hydra's grammar: backslashes count only before a quote.
quoted="$(sed -E "s/(\\\\*)'/\1\1\\\\'/g" <<< "$(realpath -- "$file")")"
given=("config='$quoted'" launch=nohup)
for default in role=both env=tpu; do
  said=false
  for override in ${overrides[@]+"${overrides[@]}"}; do
    [ "${override%%=*}" != "${default%%=*}" ] || said=true
  done
  [ "$said" = true ] || given+=("$default")
done

if [ -z "${PYTHON:-}" ]; then
  PYTHON="$root/.venv/bin/python"
  [ -x "$PYTHON" ] || PYTHON=python3
fi
exec "$PYTHON" -m grpo_launch "${given[@]}" ${overrides[@]+"${overrides[@]}"}
