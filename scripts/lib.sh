# Functions of the set-up scripts; sourced, not run.

# The first Python that is new enough.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: python: none at or above 3.10 was found, install one or set PYTHON" >&2
  exit 2
}

# A Python of exactly this version: on PATH, or as pyenv and uv keep them.
find_version() { # VERSION
  local candidate
  # A shim of pyenv is there for versions that are not chosen, and fails: each is tried.
  for candidate in "python$1" \
    "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3 \
    "$(command -v uv >/dev/null && uv python find --managed-python "$1" 2>/dev/null)"; do
    if [ -n "$candidate" ] && is_version "$candidate" "$1" && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

is_version() { # PYTHON VERSION
  "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$2" 2>/dev/null
}

make_venv() { # PYTHON DIR
  [ -x "$2/bin/python" ] && "$2/bin/python" -m pip --version >/dev/null 2>&1 && return
  if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "error: $1: cannot make virtual environments, run 'apt-get install python3-venv'" >&2
    exit 2
  fi
  "$1" -m venv "$2"
}

# Make DIR an environment with the launcher of this clone; what is there and current stays.
install_launcher() { # PYTHON DIR EXTRAS
  local stamp="$2/.installed" sum
  sum="$(checksum pyproject.toml) $3"
  [ "$(cat "$stamp" 2>/dev/null || true)" = "$sum" ] && return
  echo "setup: launcher environment in $2" >&2
  make_venv "$1" "$2"
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$3]"
  echo "$sum" > "$stamp"
}

checksum() { # FILE...
  cat "$@" | sha256sum | cut -c1-12
}
