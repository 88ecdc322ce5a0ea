#!/bin/sh
# Measures the compiled layers and models against their peers, writes the numbers as JSON, the tables of docs/performance.md and its figures.
#   bench/run.sh [--parts "layers sweeps models"] [--threads N] [--short]
#   bench/run.sh --quick|--tokens "1 8 64"|--dtypes "f32 bf16"|--model-dims "layers=2 d-model=64" ...
# Numbers of the parts that ran replace theirs in docs/performance.json; other parts keep what they have. The options of the second line leave
# something out, so their runs write to build/bench only. --quick takes a few minutes. --short is for whole models: fewer turns and tokens.
# Sets up a Python environment with the peers in build/bench/env (bench/requirements.txt); HMOE_BENCH_PYTHON=/path/to/python is used instead
# if it is set. The machine should be idle. Layers and sweeps take about an hour; models half an hour, with --short 8 minutes, 14 GB of memory
# and 11 GB of disk.
set -eu
cd "$(dirname "$0")/.."

out=build/bench
new=$out/performance.json all=docs/performance.json report=docs/performance.md figures=docs/figures
for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' bench/run.sh; exit 0 ;;
    --quick | --tokens* | --dtypes* | --model-dims*) new=$out/partial.json all=$new report=$out/partial.md figures=$out/figures ;;
  esac
done

load=$(cut -d' ' -f1 /proc/loadavg)
if awk -v load="$load" 'BEGIN { exit !(load > 0.7) }'; then
  echo "bench/run.sh: something else runs on this machine (load $load): the medians will say so too" >&2
fi

tools/deps --bench
cmake --preset release -Wno-dev >/dev/null
cmake --build --preset release --target hmoec hmoert_static
mkdir -p "$out" "$figures"

python=${HMOE_BENCH_PYTHON:-$out/env/bin/python}
if [ -z "${HMOE_BENCH_PYTHON:-}" ] && ! cmp -s bench/requirements.txt "$out/env/installed.txt"; then
  python3 -m venv --clear "$out/env"
  "$python" -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
  cp bench/requirements.txt "$out/env/installed.txt"
fi

# What torch.compile builds and finds out by measuring. A full run starts anew: what was measured on a busy machine would stay.
TORCHINDUCTOR_CACHE_DIR=$PWD/$out/inductor
export TORCHINDUCTOR_CACHE_DIR
[ "$report" != docs/performance.md ] || rm -rf "$TORCHINDUCTOR_CACHE_DIR"
"$python" bench/main.py --json "$new" "$@"
[ "$all" = "$new" ] || "$python" bench/results.py "$all" "$new"
[ "$report" = docs/performance.md ] || cp docs/performance.md "$report"
"$python" bench/report.py "$all" "$report" "$figures"
echo "numbers: $all, report: $report, figures: $figures"
