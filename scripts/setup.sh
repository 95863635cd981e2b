#!/usr/bin/env bash
# Make the launcher's environment (.venv), and the CPU engine beside it.
#
#   bash scripts/setup.sh [--dev] [--no-engine]
#
# --dev        also what the tests need
# --no-engine  only the launcher; on a GPU machine the engine is your own conda environment
#
# What is already there and current is left alone: a second run needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=plot,stacks,rollout
engine=true
for argument in "$@"; do
  case "$argument" in
    --dev) extras=plot,stacks,rollout,dev ;;
    --no-engine) engine=false ;;
    *) echo "error: $argument: unknown option, use --dev or --no-engine" >&2; exit 2 ;;
  esac
done

# shellcheck source=scripts/lib.sh
. scripts/lib.sh
python="$(find_python)"
# An environment with the development tools serves everyone.
if [ "$(cat .venv/.installed 2>/dev/null || true)" != "$(checksum pyproject.toml) plot,stacks,rollout,dev" ]; then
  install_launcher "$python" .venv "$extras"
fi

if [ "$engine" = true ]; then
  bash scripts/setup_engine.sh
fi
