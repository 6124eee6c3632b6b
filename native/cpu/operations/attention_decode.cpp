// One token of sliding-window attention: its key and value enter the ring (row position mod
// window), then each query head attends to the last `window` keys, its own included. No rotary
// embedding (Rene has none).
#include "native/cpu/attention.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

void attend_ring(const float* q, const float* keys, const float* values, size_t row_stride,
                 size_t window, size_t oldest, size_t count, size_t head_dim, float scale,
                 float* scores, float* out) {
  const auto at = [&](const float* ring, size_t j) {
    return ring + (oldest + j) % window * row_stride;
  };
  attend(
      q, [&](size_t j) { return at(keys, j); }, [&](size_t j) { return at(values, j); }, count,
      head_dim, scale, scores, out);
}

}  // namespace

void attention_decode(const Operation& operation, ThreadPool& threads) {
  decode_attention(operation, threads, attend_ring);
}

}  // namespace ssm::cpu
