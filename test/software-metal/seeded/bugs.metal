// Kernels with one mistake each, and right ones beside them; seeded.test.ts says what must be
// found. Two threadgroups of 64 threads; 128 floats in, 128 out, 64 of threadgroup memory.
#include <metal_stdlib>
using namespace metal;

#define ARGUMENTS                                                                           \
  device const float *in [[buffer(0)]], device float *out [[buffer(1)]],                    \
      threadgroup float *shared [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]], \
      uint position [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]],   \
      uint simdgroup [[simdgroup_index_in_threadgroup]]

[[kernel]] void neighbour(ARGUMENTS) {
  shared[i] = in[position];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[(i + 1) % 64];
}

[[kernel]] void missing_barrier(ARGUMENTS) {
  shared[i] = in[position];
  out[position] = shared[(i + 1) % 64];
}

[[kernel]] void missing_barrier_before_reuse(ARGUMENTS) {
  shared[i] = in[position];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float next = shared[(i + 1) % 64];
  shared[i] = next;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[i];
}

[[kernel]] void neighbour_in_device_memory(ARGUMENTS) {
  shared[i] = 0.0f;
  out[position] = in[position];
  threadgroup_barrier(mem_flags::mem_device);
  const float next = out[position - i + (i + 1) % 64];
  threadgroup_barrier(mem_flags::mem_device);
  out[position] = next + shared[i];
}

[[kernel]] void wrong_memory_flag(ARGUMENTS) {
  shared[i] = 0.0f;
  out[position] = in[position];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float next = out[position - i + (i + 1) % 64];
  threadgroup_barrier(mem_flags::mem_device);
  out[position] = next + shared[i];
}

[[kernel]] void neighbour_in_simdgroup(ARGUMENTS) {
  shared[i] = in[position];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[simdgroup * 32 + (lane + 1) % 32];
}

[[kernel]] void sum_of_simdgroup(ARGUMENTS) {
  shared[i] = in[position];
  out[position] = simd_sum(shared[i]);
}

[[kernel]] void one_lane_writes_what_all_read(ARGUMENTS) {
  shared[i] = in[position];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  const float first = shared[simdgroup * 32];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (lane == 5) shared[simdgroup * 32] = shared[simdgroup * 32] + first;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[simdgroup * 32];
}

[[kernel]] void other_simdgroup_writes_what_was_read(ARGUMENTS) {
  shared[i] = in[position];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float first = shared[0];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (i == 63) shared[0] = first + 1.0f;
  out[position] = first;
}

[[kernel]] void missing_simdgroup_barrier(ARGUMENTS) {
  shared[i] = in[position];
  out[position] = shared[simdgroup * 32 + (lane + 1) % 32];
}

[[kernel]] void simdgroup_barrier_is_not_enough(ARGUMENTS) {
  shared[i] = in[position];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[(i + 32) % 64];
}

[[kernel]] void threadgroups_write_one_place(ARGUMENTS) {
  shared[i] = in[position];
  out[i] = shared[i];
}

[[kernel]] void atomic_counter(ARGUMENTS) {
  shared[i] = in[position];
  atomic_fetch_add_explicit((device atomic_uint *)out, uint(shared[i]), memory_order_relaxed);
}

[[kernel]] void reads_past_buffer(ARGUMENTS) {
  shared[i] = in[position + 1];
  out[position] = shared[i];
}

[[kernel]] void writes_far_past_buffer(ARGUMENTS) {
  shared[i] = in[position];
  out[position + (1 << 18)] = shared[i];
}

[[kernel]] void writes_before_buffer(ARGUMENTS) {
  shared[i] = in[position];
  out[int(position) - 1] = shared[i];
}

[[kernel]] void writes_past_threadgroup_memory(ARGUMENTS) {
  shared[i + 1] = in[position];
  out[position] = shared[i + 1];
}

[[kernel]] void uninitialised_threadgroup_memory(ARGUMENTS) {
  if (i < 63) shared[i] = in[position];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[i];
}

[[kernel]] void barrier_after_return(ARGUMENTS) {
  shared[i] = in[position];
  if (i >= 40) return;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[i + 1];
}

[[kernel]] void two_barriers(ARGUMENTS) {
  shared[i] = in[position];
  if (i < 32) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  out[position] = shared[(i + 1) % 64];
}

[[kernel]] void barrier_in_branch(ARGUMENTS) {
  shared[i] = in[position];
  if (i < 40) threadgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

[[kernel]] void partial_simdgroup_barrier(ARGUMENTS) {
  shared[i] = in[position];
  if (lane < 17) simdgroup_barrier(mem_flags::mem_threadgroup);
  out[position] = shared[i];
}

[[kernel]] void partial_simd_sum(ARGUMENTS) {
  shared[i] = in[position];
  if (lane < 17) shared[i] = simd_sum(shared[i]);
  out[position] = shared[i];
}

[[kernel]] void divergent_simdgroup(ARGUMENTS) {
  shared[i] = in[position];
  if (lane % 2 == 0) {
    shared[i] = simd_sum(shared[i]);
  } else {
    shared[i] = simd_max(shared[i]);
  }
  out[position] = shared[i];
}
