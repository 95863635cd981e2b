#!/usr/bin/env bash
# Make the CPU engine: the real ms-swift and vLLM without a GPU, and a tiny model for them.
#
#   bash setup_engine.sh [DIR]      makes DIR/.venv-engine and DIR/models/tiny-qwen2
#
# Takes about 4 GB of disk and two minutes. What is already there and current is left alone.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
directory="$(cd "${1:-.}" && pwd)"
environment="$directory/.venv-engine"
lock="$root/constraints/cpu-lock.txt"

# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

stamp="$environment/.installed-$(checksum "$lock" "$root"/engines/swift_cpu/pyproject.toml "$root"/engines/swift_cpu/src/*/*.py)"
if [ ! -e "$stamp" ]; then
  python="$(find_python)"
  if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    echo "error: $python: the pinned CPU engine needs Python 3.11 to 3.13, set PYTHON" >&2
    exit 2
  fi
  echo "setup: CPU engine (ms-swift, vLLM) in $environment" >&2
  make_venv "$python" "$environment"
  pip=("$environment/bin/python" -m pip --disable-pip-version-check --quiet)
  # The pins were tested together; resolving again would bring torchvision back.
  # pip compiles what it installs on one core; 31,000 files are worth all of them. Without it each
  # start would compile again where PYTHONDONTWRITEBYTECODE is set. A few are not meant for this
  # Python and fail.
  "${pip[@]}" install --no-compile --no-deps --requirement "$lock"
  "$environment/bin/python" -W ignore -m compileall -qq -j 0 "$environment"/lib || true
  "${pip[@]}" install --no-deps --force-reinstall "$root/engines/swift_cpu"
  if ! "$environment/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)'; then
    echo "error: torch: pip found no CPU build, add PyTorch's CPU wheels to pip's configuration and run again" >&2
    exit 2
  fi
  rm -f "$environment"/.installed-*
  touch "$stamp"
fi

model="$directory/models/tiny-qwen2"
if [ ! -e "$model/config.json" ]; then
  echo "setup: tiny model in $model" >&2
  mkdir -p "$directory/models"
  "$environment/bin/python" "$root/scripts/make_tiny_model.py" "$model"
fi
