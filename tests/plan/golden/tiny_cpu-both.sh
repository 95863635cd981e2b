# tiny_cpu, role=both; run directory runs/tiny_cpu/NEW

mkdir -p "$(dirname runs/tiny_cpu/NEW/learner_arguments.yaml)"
cat > runs/tiny_cpu/NEW/learner_arguments.yaml <<'END_OF_FILE'
rlhf_type: grpo
model: models/tiny-qwen2
model_type: qwen2
torch_dtype: float32
check_model: false
template: qwen2_5
max_length: 448
dataset:
- /shipped/examples/digits/dataset.jsonl
split_dataset_ratio: 0
dataset_num_proc: 1
tuner_type: full
max_steps: 40
learning_rate: 0.005
lr_scheduler_type: constant
per_device_train_batch_size: 32
gradient_accumulation_steps: 1
bf16: false
fp16: false
gradient_checkpointing: false
logging_steps: 1
save_steps: 40
dataloader_num_workers: 0
seed: 42
report_to:
- none
use_vllm: true
vllm_mode: server
vllm_server_host:
- 127.0.0.1
vllm_server_port:
- 8080
vllm_server_timeout: 240
num_generations: 8
max_completion_length: 16
temperature: 1.0
beta: 0.0
external_plugins:
- /shipped/examples/digits/plugin.py
- /shipped/engines/swift_timing/grpo_launch_timing.py
reward_funcs:
- digits.share
vllm_server_group_port:
- 28500
output_dir: runs/tiny_cpu/NEW/output
END_OF_FILE

# rehearsal: tries the learner's arguments meanwhile; log runs/tiny_cpu/NEW/logs/rehearsal.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/tiny_cpu/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python /shipped/src/grpo_launch/learners/swift/rehearse.py rlhf runs/tiny_cpu/NEW/learner_arguments.yaml 1 512 python -m grpo_cpu_engine

# server: log runs/tiny_cpu/NEW/logs/server.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" VLLM_PORT="${VLLM_PORT-30000}" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" python -m grpo_cpu_engine rollout --model models/tiny-qwen2 --host 127.0.0.1 --port 8080 --vllm_tensor_parallel_size 1 --vllm_data_parallel_size 1 --vllm_max_model_len 512 --vllm_enforce_eager true --model_type qwen2 --torch_dtype float32 --template qwen2_5

# learner: starts when http://127.0.0.1:8080/health/ answers 200 and /get_world_size/ says 1 and one token is generated; log runs/tiny_cpu/NEW/logs/learner.log
cd /project
env PATH=/project/.venv-engine/bin:"$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS-1}" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND-nobind}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TRANSFORMERS_OFFLINE="${TRANSFORMERS_OFFLINE-1}" HF_DATASETS_OFFLINE="${HF_DATASETS_OFFLINE-1}" VLLM_NO_USAGE_STATS="${VLLM_NO_USAGE_STATS-1}" VLLM_HOST_IP="${VLLM_HOST_IP-127.0.0.1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" VIRTUAL_ENV=/project/.venv-engine CUDA_VISIBLE_DEVICES='' config=runs/tiny_cpu/NEW/learner_arguments.yaml gpus='' MASTER_PORT=29500 VLLM_PLUGINS=grpo_cpu_engine no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" bash /shipped/scripts/train.sh python -m grpo_cpu_engine
