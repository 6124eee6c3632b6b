// Puts the keys and values of a chunk into the ring: the token at absolute position t into row
// t mod window. Of a chunk longer than the window only the last `window` tokens are kept.
#include "metal/kv_cache_write.h"

#include <algorithm>

#include "native/cpu/operations.h"

namespace ssm::cpu {

void kv_cache_write(const Operation& operation, ThreadPool&) {
  const auto p = operation.params<KvCacheWriteParams>();
  const auto* k = operation.data<const float>(0);            // (batch, length, kv_heads, head_dim)
  const auto* v = operation.data<const float>(1);            // (batch, length, kv_heads, head_dim)
  auto* keys = operation.data<float>(2);                     // (slots, window, kv_heads, head_dim)
  auto* values = operation.data<float>(3);                   // (slots, window, kv_heads, head_dim)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  const auto* rows = operation.data<const uint32_t>(5);      // (batch), each slot once
  const size_t row = size_t{p.kv_heads} * p.head_dim;
  for (size_t b = 0; b < p.batch; ++b) {
    if (rows[b] >= p.slots) continue;
    for (size_t t = p.length - std::min(p.length, p.window); t < p.length; ++t) {
      const size_t at = size_t{rows[b]} * p.window + (position[b] + t) % p.window;
      const size_t token = b * p.length + t;
      std::copy_n(k + token * p.k_stride, row, keys + at * row);
      std::copy_n(v + token * p.v_stride, row, values + at * row);
    }
  }
}

}  // namespace ssm::cpu
