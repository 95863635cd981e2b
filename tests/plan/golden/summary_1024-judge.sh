# summary_1024, role=both; run directory runs/summary_1024/NEW

mkdir -p "$(dirname runs/summary_1024/NEW/learner_arguments.yaml)"
cat > runs/summary_1024/NEW/learner_arguments.yaml <<'END_OF_FILE'
rlhf_type: grpo
model: Qwen/Qwen2.5-7B-Instruct
torch_dtype: bfloat16
truncation_strategy: delete
max_length: 10976
dataset:
- /shipped/examples/summary/dataset.jsonl
split_dataset_ratio: 0
tuner_type: full
num_train_epochs: 1
learning_rate: 1.0e-06
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
per_device_train_batch_size: 8
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
max_completion_length: 1024
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
deepspeed: zero2
gradient_accumulation_steps: 3
output_dir: runs/summary_1024/NEW/output
END_OF_FILE

# rehearsal: tries the learner's arguments meanwhile; log runs/summary_1024/NEW/logs/rehearsal.log
cd /project
env CUDA_VISIBLE_DEVICES=6,7 config=runs/summary_1024/NEW/learner_arguments.yaml gpus=6,7 MASTER_PORT=29500 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms python /shipped/src/grpo_launch/learners/swift/rehearse.py rlhf runs/summary_1024/NEW/learner_arguments.yaml 2 12000 swift

# judge: log runs/summary_1024/NEW/logs/judge.log
cd /project
env CUDA_VISIBLE_DEVICES=8 judge --port 9000

# tools: log runs/summary_1024/NEW/logs/tools.log
cd /project
env MODE=fast CUDA_VISIBLE_DEVICES='' ./tools

# server: log runs/summary_1024/NEW/logs/server.log
cd /project
env CUDA_VISIBLE_DEVICES=0,1,2,3,4,5 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms swift rollout --model Qwen/Qwen2.5-7B-Instruct --host 127.0.0.1 --port 8080 --vllm_tensor_parallel_size 1 --vllm_data_parallel_size 6 --vllm_max_model_len 12000 --vllm_gpu_memory_utilization 0.6 --vllm_enable_prefix_caching true --vllm_enable_lora false --torch_dtype bfloat16

# learner: starts when http://127.0.0.1:8080/health/ answers 200 and /get_world_size/ says 6 and one token is generated; and http://127.0.0.1:9000/health answers 200; log runs/summary_1024/NEW/logs/learner.log
cd /project
env CUDA_VISIBLE_DEVICES=6,7 config=runs/summary_1024/NEW/learner_arguments.yaml gpus=6,7 MASTER_PORT=29500 no_proxy="${no_proxy:-${NO_PROXY-}},127.0.0.1,localhost,::1" NO_PROXY="${NO_PROXY:-${no_proxy-}},127.0.0.1,localhost,::1" conda run --no-capture-output -n ms bash /shipped/scripts/train.sh swift
