# summary_1024, role=both; run directory runs/summary_1024/NEW

mkdir -p "$(dirname runs/summary_1024/NEW/learner_arguments.yaml)"
cat > runs/summary_1024/NEW/learner_arguments.yaml <<'END_OF_FILE'
rlhf_type: grpo
model: models/tiny-qwen2
torch_dtype: float32
model_type: qwen2
check_model: false
truncation_strategy: delete
max_length: 10976
template: qwen2_5
dataset:
- /shipped/examples/summary/dataset.jsonl
split_dataset_ratio: 0
tuner_type: full
learning_rate: 1.0e-06
lr_scheduler_type: cosine
warmup_ratio: 0.03
weight_decay: 0.1
max_grad_norm: 1.0
gradient_checkpointing: false
bf16: false
logging_steps: 1
save_steps: 100
save_total_limit: 2
dataloader_num_workers: 0
seed: 42
report_to:
- none
per_device_train_batch_size: 8
max_steps: 3
fp16: false
beta: 0.04
temperature: 1.0
top_p: 1.0
num_generations: 8
log_completions: true
use_vllm: true
vllm_mode: server
vllm_server_host:
- 127.0.0.1
vllm_server_port:
- 8080
vllm_server_timeout: 240
max_completion_length: 64
external_plugins:
- /shipped/examples/summary/plugin.py
- /shipped/engines/swift_timing/grpo_launch_timing.py
reward_funcs:
- summary.format
- summary.header
- summary.parse
- summary.no_dup_keys
- summary.category_recall
- summary.attr_key_recall
reward_weights:
- 0.5
- 0.5
- 1.0
- 0.5
- 1.0
- 1.0
vllm_server_group_port:
- 28500
gradient_accumulation_steps: 1
output_dir: runs/summary_1024/NEW/output
END_OF_FILE

# rehearsal: tries the learner's arguments meanwhile; log runs/summary_1024/NEW/logs/rehearsal.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/summary_1024/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python /shipped/src/grpo_launch/learners/swift/rehearse.py rlhf runs/summary_1024/NEW/learner_arguments.yaml 1 12000 python -m grpo_cpu_engine

# server: log runs/summary_1024/NEW/logs/server.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" VLLM_PORT="${VLLM_PORT-30000}" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python -m grpo_cpu_engine rollout --model models/tiny-qwen2 --host 127.0.0.1 --port 8080 --vllm_tensor_parallel_size 1 --vllm_data_parallel_size 1 --vllm_max_model_len 12000 --vllm_enable_prefix_caching true --vllm_enforce_eager true --vllm_enable_lora false --model_type qwen2 --torch_dtype float32 --template qwen2_5

# learner: starts when http://127.0.0.1:8080/health/ answers 200 and /get_world_size/ says 1 and one token is generated; log runs/summary_1024/NEW/logs/learner.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/summary_1024/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" bash /shipped/scripts/train.sh python -m grpo_cpu_engine
