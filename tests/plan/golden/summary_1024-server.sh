# summary_1024, role=server; run directory runs/summary_1024/NEW

# server: log runs/summary_1024/NEW/logs/server.log
cd /project
env CUDA_VISIBLE_DEVICES=0,1,2,3,4,5 conda run --no-capture-output -n ms swift rollout --model Qwen/Qwen2.5-7B-Instruct --host 127.0.0.1 --port 8080 --vllm_tensor_parallel_size 1 --vllm_data_parallel_size 6 --vllm_max_model_len 12000 --vllm_gpu_memory_utilization 0.6 --vllm_enable_prefix_caching true --vllm_enable_lora false --torch_dtype bfloat16
