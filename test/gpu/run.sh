#!/bin/bash
# Everything on a machine with an NVIDIA GPU, in at most ten minutes: FOLDER/run.sh RESULTS
# FOLDER is pack.mjs'. RESULTS gets the logs, and what table.mjs makes docs/gpu-table.md from.
# Exit status: 0 when every check passed. PARTS="verify measure model checkers profile" chooses.
set -u
folder=$(cd "$(dirname "$0")" && pwd)
results=${1:?usage: run.sh RESULTS}
parts=${PARTS:-verify measure model checkers profile}
mkdir -p "$results"
export SSM_METAL_ADDON=$folder/gpu_metal.node SSM_GPU_CUBINS=$folder/kernels
node=$folder/node
status=0
begun=$SECONDS

passed() { echo "$((SECONDS - begun)) s: $1 passed" | tee -a "$results/summary.txt"; }
failed() {
  echo "$((SECONDS - begun)) s: $1 FAILED" | tee -a "$results/summary.txt"
  status=1
}
judge() { if [ "$1" = 0 ]; then passed "$2"; else failed "$2"; fi }
wanted() { [[ " $parts " == *" $1 "* ]]; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > "$results/gpu.txt"
date -u +%Y-%m-%d > "$results/date.txt"

# Times first, while nothing else runs.
if wanted measure; then
  SSM_GPU_TIMES=$results/times.jsonl SSM_GPU_LAUNCHES=$results/launches.jsonl timeout 140 \
    "$node" "$folder/js/test/gpu/measure.js" "$results/rows.jsonl" > "$results/measure.log" 2>&1
  judge $? "timing of operations"
fi
if wanted model; then
  SSM_GPU_TIMES=$results/times.jsonl SSM_GPU_LAUNCHES=$results/model-launches.jsonl timeout 200 \
    "$node" "$folder/js/test/gpu/model.js" "$results/rows.jsonl" "$(mktemp -d)" > "$results/model.log" 2>&1
  judge $? "whole model"
fi

# The rest shares the GPU.
jobs=()
background() {  # name, command
  local name=$1
  shift
  ("$@" > "$results/$name.log" 2>&1; echo $? > "$results/$name.status") &
  jobs+=("$name")
}
if wanted verify; then
  matmuls="--operation matmul"
  affine="--operation affine_matmul"
  others=$("$node" -e "import('$folder/js/lib/operations.js').then(({ OPERATIONS }) => console.log(
    Object.keys(OPERATIONS).filter((name) => !/^(affine_)?matmul$/.test(name))
      .map((name) => '--operation ' + name).join(' ')))")
  background verify-matmul timeout 200 "$node" "$folder/js/lib/cli.js" verify --device metal --json $matmuls
  background verify-affine timeout 200 "$node" "$folder/js/lib/cli.js" verify --device metal --json $affine
  background verify-others timeout 200 "$node" "$folder/js/lib/cli.js" verify --device metal --json $others
fi
if wanted checkers; then
  for tool in memcheck racecheck initcheck synccheck; do
    poison=1
    [ $tool = initcheck ] && poison=0  # what is filled with NaN counts as written
    options=
    # Without a gap the byte past one allocation may be the first of the next.
    [ $tool = memcheck ] && options="--leak-check=no --padding 512"
    background "$tool" env SSM_GPU_POISON=$poison timeout 200 compute-sanitizer --tool $tool $options \
      --error-exitcode 9 --target-processes application-only \
      "$node" "$folder/js/lib/cli.js" verify --device metal --quick --failures
  done
  background seeded "$folder/seeded.sh" "$folder"
fi
wait
for name in "${jobs[@]}"; do judge "$(cat "$results/$name.status")" "$name"; done

# One at a time, because it counts for the whole GPU.
if wanted profile; then
  SSM_GPU_LAUNCHES=$results/profile-launches.jsonl timeout 120 ncu --clock-control none --csv --print-units base \
    --metrics dram__bytes_read.sum,dram__bytes_write.sum,launch__registers_per_thread,sm__warps_active.avg.pct_of_peak_sustained_active \
    --log-file "$results/profile.csv" \
    "$node" "$folder/js/test/gpu/measure.js" "$results/profile-rows.jsonl" --decode > "$results/profile.log" 2>&1
  judge $? "profile"
fi
cp "$folder/kernels/resources.jsonl" "$results/"
exit $status
