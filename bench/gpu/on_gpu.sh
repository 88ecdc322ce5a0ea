#!/bin/sh
# The first run on a GPU, in the folder that bench/gpu/build.py made: on_gpu.sh RESULTS_DIRECTORY [SECONDS]
# Each part is useful alone and writes its results as soon as it has them: RESULTS_DIRECTORY/first_run.json, peers.json, and what tools of NVIDIA's that are there
# say of the smallest cases. At most SECONDS (540) in all.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$1 seconds=${2:-540}
mkdir -p "$out"
began=$(date +%s)
left() { echo $((seconds - $(date +%s) + began)); }
note() { echo "on_gpu: $*" | tee -a "$out/notes.txt" >&2; }

nvidia-smi -q -d CLOCK,POWER,PERFORMANCE >"$out/nvidia-smi.txt" 2>&1 || note "skipped: nvidia-smi"
timeout "$((seconds * 6 / 10))" "$here/first_run" --json "$out/first_run.json" --golden "$here/golden" --seconds "$((seconds / 2))" >"$out/first_run.txt" 2>&1 ||
  note "first_run ended with $?"
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  timeout "$(($(left) * 6 / 10))" python3 "$here/peers.py" "$here/libfirst_run.so" "$out/peers.json" >"$out/peers.txt" 2>&1 || note "peers ended with $?"
else
  note "skipped: peers (no torch with CUDA)"
fi
for tool in memcheck racecheck synccheck; do
  if ! command -v compute-sanitizer >/dev/null; then note "skipped: compute-sanitizer"; break; fi
  [ "$(left)" -gt 20 ] || { note "skipped: $tool (no time)"; continue; }
  timeout "$(($(left) - 10))" compute-sanitizer --tool "$tool" "$here/first_run" --parts golden,checks --most-tokens 64 --golden "$here/golden" >"$out/$tool.txt" 2>&1 ||
    note "$tool ended with $?"
done
if command -v ncu >/dev/null && [ "$(left)" -gt 30 ]; then
  timeout "$(left)" ncu --kernel-name 'regex:moe_4096_.*' --launch-count 12 --section SpeedOfLight --section MemoryWorkloadAnalysis "$here/first_run" --parts layers \
    --only moe_4096 --most-tokens 8192 >"$out/ncu.txt" 2>&1 || note "ncu ended with $?"
else
  note "skipped: ncu"
fi
note "$(left) of $seconds seconds left"
