# webagent, role=loop; run directory runs/webagent/NEW

mkdir -p "$(dirname runs/webagent/NEW/loop/collect.json)"
cat > runs/webagent/NEW/loop/collect.json <<'END_OF_FILE'
{
  "environment": "webagent",
  "plugins": [
    "/shipped/examples/webagent/plugin.py"
  ],
  "env_config": {},
  "train_tasks": "/shipped/examples/webagent/tasks/train.jsonl",
  "eval_tasks": "/shipped/examples/webagent/tasks/eval.jsonl",
  "train_tasks_rollout_size": 1,
  "eval_tasks_rollout_size": 1,
  "train_limit": null,
  "eval_limit": null,
  "server_size": 64,
  "environments": null,
  "weights": null,
  "max_turns": 30,
  "sampling": {
    "temperature": 1.0,
    "top_p": 0.99,
    "max_tokens": 3072
  },
  "token_ids": true,
  "completion_threshold": 0.95,
  "grace_s": 30.0,
  "episode_timeout_s": 1800.0,
  "call_timeout_s": 300.0,
  "max_failed": 0.1,
  "sync_s": 5.0,
  "max_tokens_spent": null,
  "model": null,
  "key": null,
  "seed": 0,
  "runtime": {
    "kind": null,
    "path": null,
    "name": null
  },
  "urls": [
    "http://127.0.0.1:8999"
  ]
}
END_OF_FILE

mkdir -p "$(dirname runs/webagent/NEW/loop/select.json)"
cat > runs/webagent/NEW/loop/select.json <<'END_OF_FILE'
{
  "select": "success",
  "threshold": 1.0,
  "share": 0.25,
  "per_task": 1,
  "max_episodes": null,
  "min_episodes": 1,
  "truncated": false,
  "data": {
    "format": "sharegpt",
    "history": "all",
    "system": true
  }
}
END_OF_FILE

mkdir -p "$(dirname runs/webagent/NEW/loop/publish.json)"
cat > runs/webagent/NEW/loop/publish.json <<'END_OF_FILE'
{
  "mode": "copy",
  "keep": 2,
  "base": "Qwen/Qwen3-VL-8B-Instruct",
  "layout": {
    "directories": [
      "checkpoint-*",
      "*/checkpoint-*"
    ],
    "prefix": "checkpoint-",
    "state": "trainer_state.json",
    "step": "global_step",
    "weights": [
      "*.safetensors",
      "*.bin",
      "*.pt",
      "global_step*",
      "pytorch_model_fsdp*"
    ],
    "no_weights": [
      "optimizer.bin",
      "optimizer.pt",
      "scheduler.pt",
      "training_args.bin"
    ],
    "beside": [
      "trainer_log.jsonl"
    ],
    "named_by": "",
    "suffix": "",
    "tracker": "",
    "ignored": []
  },
  "checkpoint": [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model*.bin*"
  ],
  "base_files": [
    "tokenizer*",
    "*.tiktoken",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "generation_config.json",
    "*processor*.json",
    "spiece.model",
    "sentencepiece*",
    "tekken.json",
    "*.py"
  ],
  "needed": [
    "config.json"
  ]
}
END_OF_FILE

mkdir -p "$(dirname runs/webagent/NEW/loop/free.json)"
cat > runs/webagent/NEW/loop/free.json <<'END_OF_FILE'
{
  "below_gib": 10.0,
  "timeout_s": 360.0
}
END_OF_FILE

# server: log runs/webagent/NEW/logs/server.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" VLLM_USE_TRITON_FLASH_ATTN="${VLLM_USE_TRITON_FLASH_ATTN-1}" CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" vllm serve Qwen/Qwen3-VL-8B-Instruct --host 127.0.0.1 --port 8999 --tensor-parallel-size 1 --data-parallel-size 8 --max-model-len 32768 --gpu-memory-utilization 0.95 --max-num-seqs 512 --limit-mm-per-prompt '{"video": 0}'

# stage collect
# collect: starts when http://127.0.0.1:8999/health answers 200 and /v1/models says Qwen/Qwen3-VL-8B-Instruct and one token is generated; log runs/webagent/NEW/iterations/0000/logs/collect.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.rollout runs/webagent/NEW/loop/collect.json --output runs/webagent/NEW/iterations/0000/train --split train --version 0

# stage collect_eval, every 6 iterations
# collect_eval: starts when http://127.0.0.1:8999/health answers 200 and /v1/models says Qwen/Qwen3-VL-8B-Instruct and one token is generated; log runs/webagent/NEW/iterations/0000/logs/collect_eval.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.rollout runs/webagent/NEW/loop/collect.json --output runs/webagent/NEW/iterations/0000/eval --split eval --version 0

# stage select
# select: log runs/webagent/NEW/iterations/0000/logs/select.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.stages.select runs/webagent/NEW/loop/select.json --episodes runs/webagent/NEW/iterations/0000/train/episodes.jsonl --output runs/webagent/NEW/iterations/0000/data

# stage learner
mkdir -p "$(dirname runs/webagent/NEW/iterations/0000/learner_arguments.yaml)"
cat > runs/webagent/NEW/iterations/0000/learner_arguments.yaml <<'END_OF_FILE'
model_name_or_path: Qwen/Qwen3-VL-8B-Instruct
template: qwen3_vl_nothink
stage: sft
finetuning_type: full
cutoff_len: 16384
per_device_train_batch_size: 3
gradient_accumulation_steps: 4
learning_rate: 1.0e-06
lr_scheduler_type: constant_with_warmup
warmup_steps: 30
num_train_epochs: 2
max_grad_norm: 1.0
weight_decay: 0.01
bf16: true
preprocessing_num_workers: 16
dataloader_num_workers: 2
logging_steps: 1
save_strategy: epoch
save_total_limit: 1
deepspeed:
  train_micro_batch_size_per_gpu: auto
  gradient_accumulation_steps: auto
  gradient_clipping: auto
  bf16:
    enabled: auto
  zero_optimization:
    stage: 1
    overlap_comm: true
dataset: trajectories
output_dir: runs/webagent/NEW/iterations/0000/output
dataset_dir: runs/webagent/NEW/iterations/0000/data
do_train: true
report_to: none
END_OF_FILE

mkdir -p "$(dirname runs/webagent/NEW/iterations/0000/data/dataset_info.json)"
cat > runs/webagent/NEW/iterations/0000/data/dataset_info.json <<'END_OF_FILE'
{
  "trajectories": {
    "file_name": "/project/runs/webagent/NEW/iterations/0000/data/trajectories.jsonl",
    "formatting": "sharegpt",
    "columns": {
      "messages": "messages"
    },
    "tags": {
      "role_tag": "role",
      "content_tag": "content",
      "user_tag": "user",
      "assistant_tag": "assistant",
      "system_tag": "system"
    }
  }
}
END_OF_FILE

# learner: log runs/webagent/NEW/iterations/0000/logs/learner.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" DISABLE_VERSION_CHECK="${DISABLE_VERSION_CHECK-1}" DEEPSPEED_LOG_LEVEL="${DEEPSPEED_LOG_LEVEL-WARNING}" DS_BUILD_OPS_VERBOSE="${DS_BUILD_OPS_VERBOSE-0}" DS_BUILD_CPU_ADAM="${DS_BUILD_CPU_ADAM-0}" DS_BUILD_FUSED_ADAM="${DS_BUILD_FUSED_ADAM-0}" WANDB_INIT_TIMEOUT="${WANDB_INIT_TIMEOUT-300}" WANDB_CONSOLE="${WANDB_CONSOLE-wrap}" WANDB_RESUME="${WANDB_RESUME-allow}" CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 FORCE_TORCHRUN=1 NPROC_PER_NODE=8 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" llamafactory-cli train runs/webagent/NEW/iterations/0000/learner_arguments.yaml

# stage publish
# publish: log runs/webagent/NEW/iterations/0000/logs/publish.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.stages.publish runs/webagent/NEW/loop/publish.json --training runs/webagent/NEW/iterations/0000/output --models runs/webagent/NEW/models --name iter_1 --serving Qwen/Qwen3-VL-8B-Instruct

# stage free, before servers or learner start
# free: log runs/webagent/NEW/iterations/0000/logs/free.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.stages.free runs/webagent/NEW/loop/free.json --devices 0,1,2,3,4,5,6,7
