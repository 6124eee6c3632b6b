// The inner loops of the fast path, of which each level (levels.h) has its own: plain functions on
// plain memory, one thread, no allocation. What they compute is said where they are defined.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm::cpu {

// A quantised matrix as native/cpu/affine.h has it, and which of its rows to multiply.
struct AffineRows {
  const uint32_t* words;
  const void* scales;
  const void* biases;
  uint32_t scale_type;  // a DataType
  uint32_t cols;
  uint32_t bits;
  uint32_t group_size;
  size_t first;
  size_t count;
};

// A float matrix (…, cols), and which of its rows to multiply.
struct PlainRows {
  const void* weights;
  uint32_t type;  // a DataType
  uint32_t cols;
  size_t first;
  size_t count;
};

struct Kernels {
  // cpu/fast/mat_vec_kernels.h
  void (*mat_vec)(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows, float* sums);
  size_t (*affine_packed_size)(size_t cols, size_t bits);
  void (*affine_pack)(const float* x, size_t cols, size_t bits, float* packed);
  void (*affine_mat_vec)(const AffineRows& w, const float* packed, size_t packed_stride,
                         size_t x_rows, float* sums);
  // cpu/fast/norm_kernels.h
  float (*sum_of_squares)(const float* x, size_t n);
  void (*scale_row)(const float* x, const float* w, float scale, size_t n, float* out);
  // cpu/fast/ssd_kernels.h
  void (*conv1d_row)(const float* const* taps, const float* w, const float* bias, size_t channels,
                     size_t width, float* out);
  void (*ssd_step)(const float* x, float step, float decay, const float* B, const float* C, float D,
                   float* S, float* y, size_t head_dim, size_t d_state);
  void (*gate_row)(const float* x, const float* z, size_t n, float* out);
  // cpu/fast/attention_kernels.h
  void (*attend)(const float* q, const float* keys, const float* values, size_t row_stride,
                 size_t window, size_t oldest, size_t count, size_t head_dim, float scale,
                 float* scores, float* out);
  // cpu/fast/largest_kernels.h
  float (*largest_value)(const float* x, size_t n);
};

}  // namespace ssm::cpu
