// Norm and rotary position embedding of heads of queries or keys, each of them only when given:
//   y   = x / rms(x) * normWeight                       over each head (Henry et al., 2020)
//   out = pairs (a, b) of the first rotary_dim columns of y turned by position * frequencies[i]:
//         (a cos - b sin, b cos + a sin) * attention_factor   (Su et al., "RoFormer", 2021; the
//         factor: Peng et al., "YaRN", 2023)
// Position of token t of row b: position[b] + t.
#include "metal/rotary.h"

#include <vector>

#include "native/cpu/operations.h"
#include "native/cpu/rotary.h"

namespace ssm::cpu {

void rotary(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<RotaryParams>();
  const auto* x = operation.data<const float>(0);            // (batch, length, heads, head_dim)
  const auto* weight = operation.data<const float>(1);       // (head_dim), or absent
  const auto* frequencies = operation.data<const float>(2);  // (rotary_dim / 2), or absent
  const auto* position = operation.data<const uint32_t>(3);  // (batch), with frequencies
  auto* out = operation.data<float>(4);                      // as x; may be x
  const Rotary rotary = {p.rotary_dim, p.interleaved != 0, frequencies, p.attention_factor};
  const size_t cost = size_t{p.heads} * p.head_dim * 4 + size_t{p.rotary_dim} * 16;
  threads.parallel_for(size_t{p.batch} * p.length, cost, [&](size_t begin, size_t end) {
    std::vector<float> turns(p.rotary_dim);
    for (size_t token = begin; token < end; ++token) {
      if (p.rotary_dim > 0) {
        find_turns(rotary, size_t{position[token / p.length]} + token % p.length, turns.data());
      }
      for (size_t h = 0; h < p.heads; ++h) {
        float* head = out + token * p.out_stride + h * p.out_head_stride;
        norm_head(x + token * p.x_stride + h * p.x_head_stride, weight, p.eps, p.head_dim, head);
        turn_head(rotary, turns.data(), head);
      }
    }
  });
}

}  // namespace ssm::cpu
