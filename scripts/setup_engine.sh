#!/usr/bin/env bash
# Make the engines and learners that run without a GPU, and a tiny model for them.
#
#   bash setup_engine.sh [--dir DIR] [swift|llamafactory|all]...
#
# swift         DIR/.venv-engine: the real ms-swift and vLLM (4 GB, two minutes); the default
# llamafactory  DIR/.venv-llamafactory: the real LLaMA-Factory (2 GB, two minutes)
# all           both
#
# DIR is the working directory unless it is said. The tiny model is DIR/models/tiny-qwen2. What is
# already there and current is left alone.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
known=(swift llamafactory)
directory=.
chosen=()
while [ $# -gt 0 ]; do
  case "$1" in
    --dir)
      directory="${2:?--dir needs a directory}"
      shift
      ;;
    all) chosen+=("${known[@]}") ;;
    swift | llamafactory) chosen+=("$1") ;;
    *)
      echo "error: $1: unknown, use --dir DIR, ${known[*]} or all" >&2
      exit 2
      ;;
  esac
  shift
done
directory="$(cd "$directory" && pwd)"

# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

# Make DIR/ENVIRONMENT from a lock file of constraints/ and a package of engines/.
install_pinned() { # ENVIRONMENT LOCK PACKAGE TITLE
  local environment="$directory/$1" lock="$root/constraints/$2" package="$root/engines/$3" stamp python
  stamp="$environment/.installed-$(checksum "$lock" "$package"/pyproject.toml "$package"/src/*/*.py)"
  [ ! -e "$stamp" ] || return 0
  python="$(find_python)"
  if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    echo "error: $python: the pinned packages need Python 3.11 to 3.13, set PYTHON" >&2
    exit 2
  fi
  echo "setup: $4 in $environment" >&2
  make_venv "$python" "$environment"
  local pip=("$environment/bin/python" -m pip --disable-pip-version-check --quiet)
  # The pins were tested together; resolving again would bring torchvision back.
  # pip compiles what it installs on one core; 31,000 files are worth all of them. Without it each
  # start would compile again where PYTHONDONTWRITEBYTECODE is set. A few are not meant for this
  # Python and fail.
  "${pip[@]}" install --no-compile --no-deps --requirement "$lock"
  "$environment/bin/python" -W ignore -m compileall -qq -j 0 "$environment"/lib || true
  "${pip[@]}" install --no-deps --force-reinstall "$package"
  if ! "$environment/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)'; then
    echo "error: torch: pip found no CPU build, add PyTorch's CPU wheels to pip's configuration and run again" >&2
    exit 2
  fi
  rm -f "$environment"/.installed-*
  touch "$stamp"
}

for name in "${chosen[@]:-swift}"; do
  case "$name" in
    swift) install_pinned .venv-engine cpu-lock.txt swift_cpu "CPU engine (ms-swift, vLLM)" ;;
    llamafactory) install_pinned .venv-llamafactory llamafactory-cpu-lock.txt llamafactory_cpu "LLaMA-Factory" ;;
  esac
done

model="$directory/models/tiny-qwen2"
if [ ! -e "$model/config.json" ]; then
  echo "setup: tiny model in $model" >&2
  mkdir -p "$directory/models"
  for environment in "$directory"/.venv-engine "$directory"/.venv-llamafactory; do
    if [ -x "$environment/bin/python" ]; then
      "$environment/bin/python" "$root/scripts/make_tiny_model.py" "$model"
      break
    fi
  done
fi
