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

make_venv() { # PYTHON DIR
  [ -x "$2/bin/python" ] && "$2/bin/python" -m pip --version >/dev/null 2>&1 && return
  if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "error: $1: cannot make virtual environments, run 'apt-get install python3-venv'" >&2
    exit 2
  fi
  "$1" -m venv "$2"
}

checksum() { # FILE...
  cat "$@" | sha256sum | cut -c1-12
}
