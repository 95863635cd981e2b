#!/usr/bin/env bash
# Trains on nothing: a line with its progress for each step, a checkpoint every few steps. It stands
# for a trainer in any language.
#
#   bash learn.sh --output DIR [--steps 10] [--every 2] [--seconds 0.1] [--from CHECKPOINT] [--url URL]
set -euo pipefail

steps=10 every=2 seconds=0.1 from="" url=""
while (($#)); do
  case "$1" in
    --output) output=$2 ;;
    --steps) steps=$2 ;;
    --every) every=$2 ;;
    --seconds) seconds=$2 ;;
    --from) from=$2 ;;
    --url) url=$2 ;;
    *) echo "learn.sh: unknown argument $1" >&2; exit 2 ;;
  esac
  shift 2
done

first=1
if [[ -n $from ]]; then
  first=$(($(cat "$from/step") + 1))
  echo "going on from $from"
fi
mkdir -p "$output"
for ((step = first; step <= steps; step++)); do
  if [[ -n $url ]]; then
    curl -fsS "$url/v1/completions" -H 'Content-Type: application/json' -d "{\"prompt\": \"$step\"}" > "$output/answer.json"
  fi
  sleep "$seconds"
  reward=$(awk "BEGIN { printf \"%.2f\", $step / $steps }")
  echo "step=$step of=$steps reward=$reward length=16 dt=${seconds}s"
  if ((step % every == 0 || step == steps)); then
    checkpoint="$output/step_$step"
    mkdir -p "$checkpoint"
    echo "$step" > "$checkpoint/step"
    touch "$checkpoint/done" # last: what has it is complete
  fi
done
