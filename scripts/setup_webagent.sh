#!/usr/bin/env bash
# Make ready what the example webagent needs: miniwob, Chromium and its driver.
#
#   bash scripts/setup_webagent.sh [PYTHON]
#
# PYTHON is the interpreter with which the collector runs; that of .venv unless it is said. What is
# already there is left alone. Only root gets Chromium installed, with apt-get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${1:-.venv/bin/python}"
if [ ! -x "$python" ]; then
  echo "error: $python: no such interpreter, run 'bash scripts/setup.sh' or name another" >&2
  exit 2
fi

"$python" -c 'import grpo_launch, miniwob' 2>/dev/null ||
  "$python" -m pip install --quiet --disable-pip-version-check --editable ".[webagent]"

browser="${MINIWOB_CHROME_BINARY:-$(command -v chromium || true)}"
driver="${MINIWOB_CHROMEDRIVER:-$(command -v chromedriver || true)}"
if [ ! -x "$browser" ] || [ ! -x "$driver" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: Chromium: it or its driver is missing, install both or set MINIWOB_CHROME_BINARY and MINIWOB_CHROMEDRIVER" >&2
    exit 2
  fi
  apt-get update -qq
  apt-get install -y -qq chromium chromium-driver >/dev/null
fi
