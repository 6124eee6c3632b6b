#!/bin/bash
# Each checker finds its kind of mistake in test/software-metal/seeded/bugs.metal, and nothing in right
# kernels: seeded.sh FOLDER
folder=$1
log=$(mktemp)
status=0

check() {  # expected exit status, tool, kernel, further arguments
  local expected=$1 tool=$2 kernel=$3
  shift 3
  local padding=
  [ "$tool" = memcheck ] && padding="--padding 512"
  timeout 60 compute-sanitizer --tool "$tool" $padding --error-exitcode 9 "$folder/gpu_run_seeded" \
    "$folder/seeded" "$kernel" "$@" > "$log" 2>&1
  local found=$?
  if [ "$expected" = any ] && [ $found != 0 ]; then expected=$found; fi
  if [ $found = "$expected" ]; then
    echo "ok $tool $kernel $*"
  else
    echo "FAILED $tool $kernel $*: exit status $found, not $expected"
    cat "$log"
    status=1
  fi
  [ $found = 0 ] || grep -m 2 -E "=========.*(Error|Invalid|Uninit|hazard|Race|Barrier|error)" "$log"
}

for tool in memcheck racecheck initcheck synccheck; do check 0 $tool neighbour; done
check 0 racecheck neighbour_in_simdgroup
check 9 racecheck missing_barrier
check 9 racecheck missing_barrier_before_reuse
check 9 racecheck simdgroup_barrier_is_not_enough
check 9 racecheck missing_simdgroup_barrier
check any memcheck reads_past_buffer
check any memcheck writes_before_buffer
check any memcheck writes_past_threadgroup_memory
check 9 initcheck neighbour --uninitialised
check any synccheck barrier_in_branch
exit $status
