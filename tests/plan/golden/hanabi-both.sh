# hanabi, role=both; run directory runs/hanabi/NEW

mkdir -p "$(dirname runs/hanabi/NEW/learner_arguments.yaml)"
cat > runs/hanabi/NEW/learner_arguments.yaml <<'END_OF_FILE'
rlhf_type: grpo
model: Qwen/Qwen3-8B
torch_dtype: bfloat16
model_type: qwen3
truncation_strategy: left
template: qwen3
max_length: 4096
dataset:
- /shipped/data/hanabi.grpo.jsonl
split_dataset_ratio: 0
tuner_type: lora
lora_rank: 8
lora_alpha: 16
target_modules:
- all-linear
learning_rate: 1.0e-05
lr_scheduler_type: cosine
warmup_ratio: 0.03
weight_decay: 0.1
max_grad_norm: 1.0
gradient_checkpointing: true
bf16: true
logging_steps: 1
save_steps: 100
save_total_limit: 2
dataloader_num_workers: 2
seed: 42
report_to:
- tensorboard
max_steps: 500
per_device_train_batch_size: 1
beta: 0.04
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
generation_batch_size: 16
max_completion_length: 8192
vllm_server_group_port:
- 28500
deepspeed: zero2
gradient_accumulation_steps: 4
output_dir: runs/hanabi/NEW/output
external_plugins:
- /shipped/engines/swift_timing/grpo_launch_timing.py
END_OF_FILE

# rehearsal: tries the learner's arguments meanwhile; log runs/hanabi/NEW/logs/rehearsal.log
cd /project
env NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_REWARD="${HANABI_REWARD-score}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" CUDA_VISIBLE_DEVICES=4,5,6,7 config=runs/hanabi/NEW/learner_arguments.yaml gpus=4,5,6,7 MASTER_PORT=29500 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms python /shipped/src/grpo_launch/learners/swift/rehearse.py rlhf runs/hanabi/NEW/learner_arguments.yaml 4 40960 swift

# server: log runs/hanabi/NEW/logs/server.log
cd /project
env VLLM_PORT="${VLLM_PORT-30000}" NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_REWARD="${HANABI_REWARD-score}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" CUDA_VISIBLE_DEVICES=0,1,2,3 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms swift rollout --model Qwen/Qwen3-8B --host 127.0.0.1 --port 8000 --vllm_tensor_parallel_size 4 --vllm_data_parallel_size 1 --vllm_max_model_len 40960 --vllm_gpu_memory_utilization 0.9 --vllm_max_num_seqs 16 --vllm_enable_prefix_caching true --vllm_enable_lora true --vllm_max_lora_rank 8 --vllm_use_async_engine true --external_plugins /shipped/examples/hanabi/plugin.py --multi_turn_scheduler gym_scheduler --max_turns 40 --use_gym_env true --gym_env hanabi_env --model_type qwen3 --torch_dtype bfloat16 --template qwen3

# learner: starts when http://127.0.0.1:8000/health/ answers 200 and /get_world_size/ says 4 and one token is generated; log runs/hanabi/NEW/logs/learner.log
cd /project
env NCCL_P2P_DISABLE="${NCCL_P2P_DISABLE-0}" NCCL_IB_DISABLE="${NCCL_IB_DISABLE-0}" HANABI_REWARD="${HANABI_REWARD-score}" HANABI_MAX_BYTES="${HANABI_MAX_BYTES-40000}" CUDA_VISIBLE_DEVICES=4,5,6,7 config=runs/hanabi/NEW/learner_arguments.yaml gpus=4,5,6,7 MASTER_PORT=29500 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms bash /shipped/scripts/train.sh swift
