// The scan of native/cpu/operations/ssd_chunk_scan.cpp, chunk by chunk as products of tiles
// (fast/ssd_kernels.h). First, for a few chunks, what the heads of a group share; then head by
// head, whose state stays transposed in the thread's scratch from one chunk to the next.
#include "metal/ssd_chunk_scan.h"

#include <algorithm>

#include "native/cpu/activations.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void ssd_chunk_scan(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<SsdChunkScanParams>();
  const auto* x = operation.data<const float>(0);        // (batch, length, heads, head_dim)
  const auto* dt = operation.data<const float>(1);       // (batch, length, heads)
  const auto* A = operation.data<const float>(2);        // (heads), negative
  const auto* B = operation.data<const float>(3);        // (batch, length, groups, d_state)
  const auto* C = operation.data<const float>(4);        // (batch, length, groups, d_state)
  const auto* D = operation.data<const float>(5);        // (heads)
  const auto* dt_bias = operation.data<const float>(6);  // (heads)
  auto* state = operation.data<float>(7);                // (slots, heads, head_dim, d_state)
  const auto* rows = operation.data<const uint32_t>(8);  // (batch), each slot once
  auto* out = operation.data<float>(9);                  // (batch, length, heads, head_dim)

  constexpr size_t kSharedFloats = size_t{1} << 21;  // of chunks that are prepared together
  constexpr size_t kSpeedup = 8;                     // as in fast/mat_mat.h
  const size_t chunk = std::min({size_t{p.chunk_size}, size_t{p.length}, kLongestSsdChunk});
  const SsdSizes sizes = kernels.ssd_sizes(chunk, p.head_dim, p.d_state);
  const size_t c_size = cache_lines(sizes.c), b_size = cache_lines(sizes.b);
  const size_t shared_size = c_size + b_size + cache_lines(sizes.scores);
  const size_t sequences = size_t{p.batch} * p.groups;
  const size_t chunks = (p.length + chunk - 1) / chunk;
  const size_t together = std::clamp<size_t>(kSharedFloats / (sequences * shared_size), 1, chunks);
  const size_t panels = (p.head_dim + kernels.tile_cols - 1) / kernels.tile_cols;
  const size_t panel_size = sizes.state / panels;
  float* shared = scratch<Scratch::kShared>(sequences * together * shared_size);

  for (size_t first_chunk = 0; first_chunk < chunks; first_chunk += together) {
    const size_t count = std::min(together, chunks - first_chunk);
    const auto first_of = [&](size_t c) { return (first_chunk + c) * chunk; };  // token
    const auto length_of = [&](size_t c) { return std::min(chunk, p.length - first_of(c)); };
    // What chunk c (of `count`) has of group g in sequence b.
    const auto shared_of = [&](size_t b, size_t g, size_t c) {
      return shared + ((b * p.groups + g) * count + c) * shared_size;
    };

    const size_t scores_cost = chunk * chunk * p.d_state / kSpeedup;
    threads.parallel_for(sequences * count, scores_cost, [&](size_t begin, size_t end) {
      float* work = scratch<Scratch::kOwn>(sizes.work);
      for (size_t i = begin; i < end; ++i) {
        const size_t c = i % count, g = i / count % p.groups, b = i / count / p.groups;
        if (rows[b] >= p.slots) continue;
        const size_t token = b * p.length + first_of(c);
        float* packed = shared_of(b, g, c);
        kernels.ssd_scores({
            .length = length_of(c),
            .d_state = p.d_state,
            .B = B + token * p.b_stride + g * p.d_state,
            .b_stride = p.b_stride,
            .C = C + token * p.c_stride + g * p.d_state,
            .c_stride = p.c_stride,
            .packed_c = packed,
            .padded_b = packed + c_size,
            .scores = packed + c_size + b_size,
            .work = work,
        });
      }
    });

    const size_t tokens = std::min(count * chunk, p.length - first_of(0));
    const size_t cost = tokens * p.head_dim * (2 * p.d_state + chunk) / kSpeedup;
    threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
      const size_t state_size = cache_lines(sizes.state);
      float* transposed = scratch<Scratch::kOwn>(state_size + sizes.work);
      float step[kSsdPadding] = {};
      // Two floats a number: differences of long sums are exponents, and their error is relative
      // error in y.
      float a_high[kSsdPadding] = {}, a_low[kSsdPadding] = {};
      for (size_t i = begin; i < end; ++i) {
        const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
        if (rows[b] >= p.slots) continue;
        float* S = state + (size_t{rows[b]} * p.heads + h) * p.head_dim * p.d_state;
        for (size_t panel = 0; panel < panels; ++panel) {
          const size_t row = panel * kernels.tile_cols;
          const PlainRows rows = {S, kFloat32, p.d_state, row,
                                  std::min(kernels.tile_cols, p.head_dim - row)};
          kernels.pack_plain(rows, 0, p.d_state, transposed + panel * panel_size);
        }
        for (size_t c = 0; c < count; ++c) {
          threads.throw_if_cancelled();
          const size_t length = length_of(c), token = b * p.length + first_of(c);
          double sum = 0;
          for (size_t t = 0; t < length; ++t) {
            const float given = dt[(token + t) * p.dt_stride + h];
            step[t] = step_size(given, dt_bias[h], p.dt_min, p.dt_max);
            sum += static_cast<double>(step[t]) * A[h];
            a_high[t] = static_cast<float>(sum);
            a_low[t] = static_cast<float>(sum - static_cast<double>(a_high[t]));
          }
          const float* packed = shared_of(b, g, c);
          kernels.ssd_chunk({
              .length = length,
              .head_dim = p.head_dim,
              .d_state = p.d_state,
              .x = x + token * p.x_stride + h * p.head_dim,
              .x_stride = p.x_stride,
              .a_high = a_high,
              .a_low = a_low,
              .step = step,
              .D = D[h],
              .packed_c = packed,
              .padded_b = packed + c_size,
              .scores = packed + c_size + b_size,
              .state = transposed,
              .out = out + (token * p.heads + h) * p.head_dim,
              .out_stride = size_t{p.heads} * p.head_dim,
              .work = transposed + state_size,
          });
        }
        for (size_t row = 0; row < p.head_dim; ++row) {
          const float* from = transposed + row / kernels.tile_cols * panel_size;
          const size_t column = row % kernels.tile_cols;
          for (size_t n = 0; n < p.d_state; ++n) {
            S[row * p.d_state + n] = from[n * kernels.tile_cols + column];
          }
        }
      }
    });
  }
}

}  // namespace ssm::cpu::fast
