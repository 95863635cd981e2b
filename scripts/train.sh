#!/usr/bin/env bash
# The training entry: one learner, one process a GPU.
#
#   config=ARGUMENTS_FILE [gpus=6,7] [program=sft] [debug=true] bash scripts/train.sh [COMMAND...]
#
# config  a YAML or JSON file of ms-swift arguments (the launcher writes it; keys are flag names)
# gpus    CUDA device ids, default 0; empty: no GPU, one process
# program what is trained: rlhf (default), sft or pt
# debug   true: verbose NCCL and torch.distributed logs, and every command is shown
# COMMAND what stands before "PROGRAM ARGUMENTS_FILE", default: swift
#
# The caller's environment wins over every default below.
set -euo pipefail

: "${config:?set config=ARGUMENTS_FILE}"
gpus="${gpus-0}"
[ $# -gt 0 ] || set -- swift

if [ ! -r "$config" ]; then
  echo "error: $config: cannot be read, check config=" >&2
  exit 2
fi

export NCCL_ASYNC_ERROR_HANDLING="${NCCL_ASYNC_ERROR_HANDLING-1}"
export TORCH_NCCL_TRACE_BUFFER_SIZE="${TORCH_NCCL_TRACE_BUFFER_SIZE-67108864}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS-8}"
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF-expandable_segments:True}"
export CUDA_VISIBLE_DEVICES="$gpus"

if [ "${debug:-false}" = true ]; then
  export TORCH_DISTRIBUTED_DEBUG="${TORCH_DISTRIBUTED_DEBUG-DETAIL}"
  export NCCL_DEBUG="${NCCL_DEBUG-INFO}"
  set -x
fi

IFS=, read -ra devices <<< "$gpus"
processes="${#devices[@]}"

# ms-swift starts torchrun when NPROC_PER_NODE is set; one process needs none.
if [ "$processes" -gt 1 ]; then
  export NPROC_PER_NODE="$processes"
elif [ "${NNODES:-1}" -gt 1 ]; then
  export NPROC_PER_NODE=1
else
  # Left over from a caller's torchrun job, these would start one here as well.
  unset NPROC_PER_NODE NNODES
fi

# One process on a CPU makes a process group too (accelerate), on 29500 unless told: two learners on
# one machine would collide there. Several nodes have agreed on a port.
if [ "${NNODES:-1}" -le 1 ] && [ -z "${MASTER_PORT:-}" ]; then
  MASTER_PORT="$("$(command -v python3 || command -v python)" -c 'import socket
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    print(probe.getsockname()[1])')"
  export MASTER_PORT
fi

exec "$@" "${program:-rlhf}" "$config"
