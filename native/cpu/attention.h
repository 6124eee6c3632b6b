// Softmax attention of one query over a list of keys, which both attention operations share, and
// the frame of attention_decode, which the plain loops and the kernels of cpu/fast/ share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "metal/attention_decode.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

// out = sum over j of softmax(scale * q . key(j)) * value(j), j from 0 to count - 1 (the oldest key
// first); keys and values of any float type. `scores` has room for count numbers.
template <class KeyAt, class ValueAt>
void attend(const float* q, KeyAt key, ValueAt value, size_t count, size_t head_dim, float scale,
            float* scores, float* out) {
  float largest = -INFINITY;
  for (size_t j = 0; j < count; ++j) {
    scores[j] = scale * dot(q, key(j), head_dim);
    largest = std::max(largest, scores[j]);
  }
  float sum = 0;
  for (size_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - largest);
    sum += scores[j];
  }
  std::fill_n(out, head_dim, 0.0f);
  for (size_t j = 0; j < count; ++j) {
    const float weight = scores[j] / sum;
    const auto* v = value(j);
    for (size_t d = 0; d < head_dim; ++d) out[d] += weight * to_float(v[d]);
  }
}

// attention_decode: its key and value enter the ring, then each query head attends to what the ring
// holds. attend(q, keys, values, row_stride, window, oldest, count, head_dim, scale, scores, out)
// computes one head, as attend above does for key j in row (oldest + j) mod window of `keys`, whose
// rows are row_stride apart; values likewise.
template <class Attend>
void decode_attention(const Operation& operation, ThreadPool& threads, const Attend& attend) {
  const auto p = operation.params<AttentionDecodeParams>();
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim)
  const auto* k = operation.data<const float>(1);            // (batch, kv_heads, head_dim)
  const auto* v = operation.data<const float>(2);            // (batch, kv_heads, head_dim)
  auto* keys = operation.data<float>(3);                     // (slots, window, kv_heads, head_dim)
  auto* values = operation.data<float>(4);                   // (slots, window, kv_heads, head_dim)
  const auto* position = operation.data<const uint32_t>(5);  // (batch)
  const auto* rows = operation.data<const uint32_t>(6);      // (batch), each slot once
  auto* out = operation.data<float>(7);                      // (batch, heads, head_dim)
  const size_t row = size_t{p.kv_heads} * p.head_dim;
  for (size_t b = 0; b < p.batch; ++b) {
    if (rows[b] >= p.slots) continue;
    const size_t newest = size_t{rows[b]} * p.window + position[b] % p.window;
    std::copy_n(k + b * p.k_stride, row, keys + newest * row);
    std::copy_n(v + b * p.v_stride, row, values + newest * row);
  }
  const size_t cost = size_t{p.window} * p.head_dim;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    std::vector<float> scores(p.window);
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads;
      if (rows[b] >= p.slots) continue;
      const size_t count = std::min<size_t>(size_t{position[b]} + 1, p.window);
      const size_t oldest = (size_t{position[b]} + 1 - count) % p.window;
      const size_t column = h / (p.heads / p.kv_heads) * p.head_dim;
      const size_t first = size_t{rows[b]} * p.window * row + column;
      attend(q + b * p.q_stride + h * p.head_dim, keys + first, values + first, row, p.window,
             oldest, count, p.head_dim, p.scale, scores.data(), out + i * p.head_dim);
    }
  });
}

}  // namespace ssm::cpu
