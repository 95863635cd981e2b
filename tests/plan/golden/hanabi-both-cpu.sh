# hanabi, role=both; run directory runs/hanabi/NEW

mkdir -p "$(dirname runs/hanabi/NEW/learner_arguments.yaml)"
cat > runs/hanabi/NEW/learner_arguments.yaml <<'END_OF_FILE'
rlhf_type: grpo
model: models/tiny-qwen2
torch_dtype: float32
model_type: qwen2
check_model: false
truncation_strategy: left
template: default
max_length: 448
dataset:
- /shipped/data/hanabi_tiny.grpo.jsonl
split_dataset_ratio: 0
tuner_type: full
learning_rate: 0.003
lr_scheduler_type: constant
warmup_ratio: 0
weight_decay: 0.1
max_grad_norm: 1.0
gradient_checkpointing: false
bf16: false
logging_steps: 1
save_steps: 30
save_total_limit: 2
dataloader_num_workers: 0
seed: 42
report_to:
- none
max_steps: 30
per_device_train_batch_size: 64
fp16: false
beta: 0.0
temperature: 1.0
top_p: 1.0
num_generations: 16
log_completions: true
use_vllm: true
vllm_mode: server
vllm_server_host:
- 127.0.0.1
vllm_server_port:
- 8000
vllm_server_timeout: 240
vllm_server_pass_dataset: true
use_gym_env: true
max_completion_length: 3
vllm_server_group_port:
- 28500
gradient_accumulation_steps: 1
output_dir: runs/hanabi/NEW/output
external_plugins:
- /shipped/engines/swift_timing/grpo_launch_timing.py
END_OF_FILE

# rehearsal: tries the learner's arguments meanwhile; log runs/hanabi/NEW/logs/rehearsal.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/hanabi/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine HANABI_REWARD=shaped HANABI_OBSERVATION=compact no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python /shipped/src/grpo_launch/learners/swift/rehearse.py rlhf runs/hanabi/NEW/learner_arguments.yaml 1 512 python -m grpo_cpu_engine

# server: log runs/hanabi/NEW/logs/server.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" VLLM_PORT="${VLLM_PORT-30000}" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' VLLM_PLUGINS=grpo_cpu_engine HANABI_REWARD=shaped HANABI_OBSERVATION=compact no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python -m grpo_cpu_engine rollout --model models/tiny-qwen2 --host 127.0.0.1 --port 8000 --vllm_tensor_parallel_size 1 --vllm_data_parallel_size 1 --vllm_max_model_len 512 --vllm_max_num_seqs 16 --vllm_enable_prefix_caching true --vllm_enforce_eager true --vllm_use_async_engine true --external_plugins /shipped/examples/hanabi/plugin.py --multi_turn_scheduler gym_scheduler --max_turns 3 --use_gym_env true --gym_env hanabi_env --model_type qwen2 --torch_dtype float32 --template default

# learner: starts when http://127.0.0.1:8000/health/ answers 200 and /get_world_size/ says 1 and one token is generated; log runs/hanabi/NEW/logs/learner.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/hanabi/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine HANABI_REWARD=shaped HANABI_OBSERVATION=compact no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" bash /shipped/scripts/train.sh python -m grpo_cpu_engine
