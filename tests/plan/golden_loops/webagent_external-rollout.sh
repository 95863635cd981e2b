# webagent_external, role=rollout; run directory runs/webagent_external/NEW

mkdir -p "$(dirname runs/webagent_external/NEW/loop/collect.json)"
cat > runs/webagent_external/NEW/loop/collect.json <<'END_OF_FILE'
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
  "urls": []
}
END_OF_FILE

mkdir -p "$(dirname runs/webagent_external/NEW/loop/select.json)"
cat > runs/webagent_external/NEW/loop/select.json <<'END_OF_FILE'
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

mkdir -p "$(dirname runs/webagent_external/NEW/loop/publish.json)"
cat > runs/webagent_external/NEW/loop/publish.json <<'END_OF_FILE'
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

mkdir -p "$(dirname runs/webagent_external/NEW/loop/free.json)"
cat > runs/webagent_external/NEW/loop/free.json <<'END_OF_FILE'
{
  "below_gib": 10.0,
  "timeout_s": 360.0
}
END_OF_FILE

# stage collect_eval
# collect_eval: log runs/webagent_external/NEW/iterations/0000/logs/collect_eval.log
cd /project
env HF_TRUST_REMOTE_CODE="${HF_TRUST_REMOTE_CODE-1}" WANDB_MODE="${WANDB_MODE-online}" CUDA_VISIBLE_DEVICES='' python -m grpo_launch.rollout runs/webagent_external/NEW/loop/collect.json --output runs/webagent_external/NEW/iterations/0000/eval --split eval --version 0
