#!/usr/bin/env bash
# The whole thing on a machine without a GPU: set up what is missing, then train the tiny model.
#
#   bash scripts/demo.sh [OVERRIDES...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m grpo_launch role=both config=tiny_cpu "$@"
