#!/bin/sh
# Measures the compiled layers against OpenBLAS and each other, and writes the tables of docs/performance.md and its numbers as JSON.
#   bench/run.sh [--threads N] [--tokens "1 8 64"] [--json FILE] [--report FILE]
# Installs libopenblas-dev if it is missing. The machine should be idle.
set -eu
cd "$(dirname "$0")/.."

threads=$(nproc) tokens="1 8 64 512 2048" json=build/bench/performance.json report=docs/performance.md
while [ $# -gt 0 ]; do
  case $1 in
    --threads) threads=$2; shift ;;
    --tokens) tokens=$2; shift ;;
    --json) json=$2; shift ;;
    --report) report=$2; shift ;;
    -h | --help) sed -n '2,4s/^# \{0,1\}//p' bench/run.sh; exit 0 ;;
    *) echo "bench/run.sh: unknown option '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done

load=$(cut -d' ' -f1 /proc/loadavg)
if awk -v load="$load" 'BEGIN { exit !(load > 0.7) }'; then
  echo "bench/run.sh: something else runs on this machine (load $load): the medians will say so too" >&2
fi

tools/deps --bench
cmake --preset release -Wno-dev >/dev/null
cmake --build --preset release --target hmoec hmoert_static
out=build/bench
mkdir -p "$out"
for model in moe-layer hypermoe-layer; do
  build/bin/hmoec compile models/$model.spec -o "$out"
done
build/bin/hmoec check models/hypermoe-layer.spec --tokens 8 --seed 1 --save-weights "$out/weights.safetensors"
# shellcheck disable=SC2046 # words
${CC:-cc} -std=gnu17 -O3 -D_GNU_SOURCE -Wall -Wextra -Iinclude -I"$out" -Ibench -Icompiler \
  bench/bench.c bench/openblas_layer.c compiler/commands/ceilings.c "$out/moe_layer.o" "$out/hypermoe_layer.o" \
  build/lib/libhmoert.a -lopenblas -lpthreadpool -lcjson -lxxhash -lpthread -lm -o "$out/bench"
# shellcheck disable=SC2086 # a list of words
"$out/bench" "$out/weights.safetensors" "$json" "$threads" $tokens
python3 bench/report.py "$json" "$report"
echo "numbers: $json, report: $report"
