#!/usr/bin/env bash
# The whole thing on a machine without a GPU: set up what is missing, then train the tiny model.
#
#   bash scripts/demo.sh [OVERRIDES...]        GRPO: a rollout server and a learner beside it
#   bash scripts/demo.sh loop [OVERRIDES...]   a loop: collect, train on the best, publish, again
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = loop ]; then
  shift
  engines=(swift llamafactory)
  words=(role=loop config=digits_loop)
else
  engines=(swift)
  words=(role=both config=tiny_cpu)
fi
bash scripts/setup.sh --no-engine
bash scripts/setup_engine.sh "${engines[@]}"
exec .venv/bin/python -m grpo_launch "${words[@]}" "$@"
