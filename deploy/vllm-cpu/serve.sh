#!/usr/bin/env bash
# Serve one small checkpoint with the real vLLM on this machine's CPU: an OpenAI-compatible server in about 1 GB.
#
#   deploy/vllm-cpu/serve.sh MODEL_DIR PORT [NAME] [further arguments of `vllm serve`]
#
# POINTSMAN_VLLM_ENV names the environment that install.sh has made (default: .venv-vllm).
set -euo pipefail

model=${1:?usage: serve.sh MODEL_DIR PORT [NAME] [vllm arguments]}
port=${2:?usage: serve.sh MODEL_DIR PORT [NAME] [vllm arguments]}
name=${3:-$(basename "$model")}
shift "$(($# < 3 ? $# : 3))"
vllm=${POINTSMAN_VLLM_ENV:-.venv-vllm}/bin/vllm

if [[ ! -x $vllm ]]; then
  echo "no vLLM in ${vllm%/bin/vllm}; run deploy/vllm-cpu/install.sh first" >&2
  exit 1
fi

if [[ ! -f $model/config.json ]]; then
  echo "no checkpoint in $model" >&2
  exit 1
fi

# The checkpoint is on disk and nothing else is wanted: ask no hub, send no statistics.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
# One thread that the system may place: left to itself every server pins its threads to the same first core.
export VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Engine and worker in one process, and no compiler: a quarter less memory, and ready in two thirds of the time.
export VLLM_ENABLE_V1_MULTIPROCESSING=0 TORCHDYNAMO_DISABLE=1

exec "$vllm" serve "$model" \
  --served-model-name "$name" --host 127.0.0.1 --port "$port" \
  --dtype "${POINTSMAN_VLLM_DTYPE:-bfloat16}" --enforce-eager --distributed-executor-backend uni \
  --max-num-seqs 16 --kv-cache-memory-bytes "$((64 * 1024 * 1024))" "$@"
