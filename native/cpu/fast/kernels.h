// The inner loops of the fast path, of which each level (levels.h) has its own: plain functions on
// plain memory, one thread, no allocation. What they compute is said where they are defined.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm::cpu {

// A quantised matrix as native/cpu/quantized.h has it, and which of its rows to multiply.
struct QuantizedRows {
  const uint32_t* words;
  const void* scales;
  const void* biases;
  uint32_t scale_type;  // a DataType
  uint32_t mode;        // a QuantizedMode
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

// Memory that is read soon, for a kernel to fetch while it computes: rows of `bytes`, row_bytes
// apart.
struct UpcomingRows {
  const uint8_t* first;
  size_t row_bytes;
  size_t count;
  size_t bytes;
};

// Tokens that the SSD kernels take at once, at most.
inline constexpr size_t kLongestSsdChunk = 64;
// Arrays over the tokens of a chunk have so many elements, with any finite values after the last
// token: kernels read whole vectors and tiles.
inline constexpr size_t kSsdPadding = 128;

// Floats that a chunk needs.
struct SsdSizes {
  size_t c, b, scores;  // of a group: packed_c, padded_b, scores
  size_t state;         // of a head
  size_t work;          // of a thread
};

// Tokens of one group.
struct SsdGroup {
  size_t length;
  size_t d_state;
  const float* B;  // (length, d_state), rows b_stride apart
  size_t b_stride;
  const float* C;
  size_t c_stride;
  float* packed_c;
  float* padded_b;  // may be null
  float* scores;
  float* work;
};

// The same tokens of one head.
struct SsdHead {
  size_t length;
  size_t head_dim;
  size_t d_state;
  const float* x;  // (length, head_dim), rows x_stride apart
  size_t x_stride;
  const float* a_high;  // (kSsdPadding) sums of dt * A up to each token, rounded
  const float* a_low;   // (kSsdPadding) what that left
  const float* factor;  // (kSsdPadding) of x: dt, or 1
  float D;
  const float* packed_c;
  const float* padded_b;
  const float* scores;
  float* state;  // transposed, in panels of columns of head_dim (fast/tile_kernels.h)
  float* out;    // (length, head_dim), rows out_stride apart
  size_t out_stride;
  float* work;
};

// The softmax of one query over the keys so far: weights are exp(score - largest).
struct RunningSoftmax {
  float largest = -3.4028235e38f;
  float total = 0.0f;  // of the weights
};

// Tokens of one head of the gated delta rule: x are values, `factor` is beta, `a` sums logarithms
// of decays, B are keys and C queries; D is 0.
struct DeltaHead {
  SsdHead ssd;
  const float* packed_k;    // as packed_c, of the keys
  const float* key_scores;  // as scores, of keys with keys
};

struct Kernels {
  // cpu/fast/mat_vec_kernels.h
  void (*mat_vec)(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows, float* sums);
  // cpu/fast/quantized_mat_vec_kernels.h
  size_t (*quantized_packed_size)(const QuantizedRows& w);
  void (*quantized_pack)(const QuantizedRows& w, const float* x, float* packed);
  void (*quantized_mat_vec)(const QuantizedRows& w, const float* packed, size_t packed_stride,
                            size_t x_rows, float* sums);
  // cpu/fast/tile_kernels.h
  size_t tile_rows;
  size_t tile_cols;
  // cpu/fast/mat_mat_kernels.h
  void (*pack_rows)(const float* x, size_t x_stride, size_t rows, size_t depth, float* packed);
  void (*pack_plain)(const PlainRows& w, size_t first_col, size_t depth, float* packed);
  void (*pack_quantized)(const QuantizedRows& w, size_t first_col, size_t depth, float* packed);
  void (*multiply_tiles)(const float* a, size_t a_stride, size_t rows, const float* b,
                         size_t panels, size_t depth, float* sums, size_t sums_stride, bool add,
                         const UpcomingRows& upcoming);
  // cpu/fast/ssd_chunk_kernels.h
  SsdSizes (*ssd_sizes)(size_t length, size_t head_dim, size_t d_state);
  void (*ssd_scores)(const SsdGroup& group);
  void (*ssd_chunk)(const SsdHead& head);
  // cpu/fast/delta_kernels.h
  void (*delta_step)(const float* q, const float* k, const float* v, float beta, float decay,
                     float* S, float* o, size_t value_dim, size_t key_dim);
  size_t (*delta_work)(size_t length);
  void (*delta_chunk)(const DeltaHead& head);
  // cpu/fast/row_kernels.h
  void (*conv1d_transposed_row)(const float* const* taps, const float* w, const float* bias,
                                size_t channels, size_t width, uint32_t activation, float* out);
  void (*activate)(const float* x, uint32_t activation, const float* gate, size_t n, float* out);
  void (*finish_row)(const float* sums, const float* scale, const float* bias, uint32_t activation,
                     const float* gate, const float* residual, size_t n, float* out);
  double (*sum_of_exps)(const float* x, float largest, size_t n);
  // cpu/fast/norm_kernels.h
  float (*sum_of_squares)(const float* x, size_t n);
  void (*scale_row)(const float* x, const float* w, float scale, size_t n, float* out);
  // cpu/fast/ssd_kernels.h
  void (*conv1d_row)(const float* const* taps, const float* w, const float* bias, size_t channels,
                     size_t width, uint32_t activation, float* out);
  void (*ssd_step)(const float* x, float factor, float decay, const float* B, const float* C,
                   float D, float* S, float* y, size_t head_dim, size_t d_state);
  void (*gate_row)(const float* x, const float* z, size_t n, float* out);
  // cpu/fast/attention_kernels.h
  void (*attend)(const float* q, const float* keys, const float* values, size_t row_stride,
                 size_t window, size_t oldest, size_t count, size_t head_dim, float scale,
                 float* scores, float* out);
  // cpu/fast/paged_attention_kernels.h
  void (*widen)(const void* from, uint32_t type, size_t n, float* to);
  void (*pack_columns)(const PlainRows& w, size_t first_col, size_t cols, float* packed);
  float (*take_scores)(float* scores, size_t visible, size_t count, float scale,
                       RunningSoftmax* softmax);
  void (*correct_sums)(float* sums, size_t n, float factor);
  void (*attend_keys)(const float* q, const float* keys, const float* values, size_t row_stride,
                      size_t count, size_t head_dim, float scale, float* scores,
                      RunningSoftmax* softmax, float* sums);
  void (*finish_head)(const float* sums, float total, const float* gate, size_t n, float* out);
  // cpu/fast/largest_kernels.h
  float (*largest_value)(const float* x, size_t n);
};

}  // namespace ssm::cpu
