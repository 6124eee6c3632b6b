#!/bin/bash
# Everything on a machine with an NVIDIA GPU, in at most ten minutes: FOLDER/run.sh RESULTS
# FOLDER is pack.mjs'. RESULTS gets the logs, and what table.mjs makes docs/gpu-table.md from.
# Exit status: 0 when every check passed. PARTS="verify measure invariance model families checkers profile" chooses.
set -u
folder=$(cd "$(dirname "$0")" && pwd)
results=${1:?usage: run.sh RESULTS}
parts=${PARTS:-verify measure invariance model families checkers profile}
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

jobs=()
background() {  # name, command
  local name=$1
  shift
  ("$@" > "$results/$name.log" 2>&1; echo $? > "$results/$name.status") &
  jobs+=("$name")
}
finish() {
  wait
  for name in "${jobs[@]}"; do judge "$(cat "$results/$name.status")" "$name"; done
  jobs=()
}

# Times and counts first. Most of their work is the CPU's; on the GPU they take turns, one list each.
alone=(env "SSM_GPU_LOCK=$results/lock")
if wanted measure; then
  for type in float32 float16; do
    background "times-$type" "${alone[@]}" "SSM_GPU_TIMES=$results/times-$type.jsonl" timeout 200 \
      "$node" "$folder/js/test/gpu/measure.js" "$results/rows-$type.jsonl" "--$type"
  done
fi
if wanted invariance; then
  background invariance "${alone[@]}" "SSM_GPU_TIMES=$results/times-invariance.jsonl" timeout 300 \
    "$node" "$folder/js/test/gpu/batch-invariance.js"
fi
if wanted model; then
  background model "${alone[@]}" "SSM_GPU_TIMES=$results/times-model.jsonl" timeout 200 \
    "$node" "$folder/js/test/gpu/model.js" "$results/rows-model.jsonl" "$(mktemp -d)"
fi
if wanted families; then
  background families "${alone[@]}" "SSM_GPU_TIMES=$results/times-families.jsonl" timeout 400 \
    "$node" "$folder/js/test/gpu/families.js" "$results/rows-families.jsonl" "$(mktemp -d)"
fi
if wanted profile; then
  background profile "${alone[@]}" "SSM_GPU_LAUNCHES=$results/profile-launches.jsonl" timeout 200 \
    ncu --clock-control none --csv --print-units base \
    --metrics dram__bytes_read.sum,dram__bytes_write.sum,launch__registers_per_thread,sm__warps_active.avg.pct_of_peak_sustained_active \
    --log-file "$results/profile.csv" \
    "$node" "$folder/js/test/gpu/measure.js" "$results/profile-rows.jsonl" --decode
fi
finish
for what in rows times; do
  cat "$results/$what"-{model,families,float32,float16}.jsonl > "$results/$what.jsonl" 2> /dev/null
done

# The rest shares the GPU. The operations with most cases have a process of their own.
of_operations() {  # true or false, a pattern: options that choose operations which match it or do not
  "$node" -e "import('$folder/js/lib/verify/verify.js').then(({ verifiedOperations }) => console.log(
    verifiedOperations().filter((name) => /^($2)\$/.test(name) === $1)
      .map((name) => '--operation ' + name).join(' ')))"
}
matmul="--operation matmul"
affine="--operation quantized_matmul"
mixers='.*(attention|delta|scan|conv1d).*'
mixing=$(of_operations true "$mixers")
experts=$(of_operations true '.*experts.*')
others=$(of_operations false "(quantized_)?matmul|.*experts.*|$mixers")
verify=("$node" "$folder/js/lib/cli.js" verify --device metal)
if wanted verify; then
  for part in matmul affine mixing experts others; do
    background "verify-$part" timeout 200 "${verify[@]}" --json ${!part}
  done
fi
if wanted checkers; then
  checked() {  # name, tool, poison, options of the tool, options of verify
    background "$1" env "SSM_GPU_POISON=$3" timeout 400 compute-sanitizer --tool "$2" $4 --error-exitcode 9 \
      --target-processes application-only "${verify[@]}" --quick --failures $5
  }
  # Without a gap the byte past one allocation may be the first of the next.
  checked memcheck memcheck 1 "--leak-check=no --padding 512" ""
  checked initcheck initcheck 0 "" ""  # what is filled with NaN counts as written
  checked synccheck synccheck 1 "" ""
  for part in matmul affine mixing experts others; do checked "racecheck-$part" racecheck 1 "" "${!part}"; done
  background seeded "$folder/seeded.sh" "$folder"
fi
finish
cp "$folder/kernels/resources.jsonl" "$results/"
exit $status
