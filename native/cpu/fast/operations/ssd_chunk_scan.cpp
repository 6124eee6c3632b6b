// The scan of native/cpu/operations/ssd_chunk_scan.cpp, chunk by chunk as products of tiles
// (fast/ssd_kernels.h). First, for a few chunks, what the heads of a group share; then head by
// head, whose state stays transposed in the thread's scratch from one chunk to the next.
#include "metal/ssd_chunk_scan.h"

#include <algorithm>

#include "native/cpu/activations.h"
#include "native/cpu/fast/chunks_together.h"
#include "native/cpu/fast/head_states.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

namespace {

class Scan {
 public:
  Scan(const Operation& operation, ThreadPool& threads, const Kernels& kernels)
      : p_(operation.params<SsdChunkScanParams>()),
        x_(operation.data<const float>(0)),
        dt_(operation.data<const float>(1)),
        A_(operation.data<const float>(2)),
        B_(operation.data<const float>(3)),
        C_(operation.data<const float>(4)),
        D_(operation.data<const float>(5)),
        dt_bias_(operation.data<const float>(6)),
        state_(operation.data<float>(7)),
        rows_(operation.data<const uint32_t>(8)),
        out_(operation.data<float>(9)),
        threads_(threads),
        kernels_(kernels),
        chunk_(std::min({size_t{p_.chunk_size}, size_t{p_.length}, kLongestSsdChunk})),
        sizes_(kernels.ssd_sizes(chunk_, p_.head_dim, p_.d_state)),
        states_(kernels, p_.head_dim, p_.d_state, sizes_.state),
        c_size_(cache_lines(sizes_.c)),
        b_size_(cache_lines(sizes_.b)),
        shared_size_(c_size_ + b_size_ + cache_lines(sizes_.scores)) {}

  void run() {
    const size_t sequences = size_t{p_.batch} * p_.groups;
    chunks_together(p_.length, chunk_, sequences, shared_size_, [&](float* shared, Chunks some) {
      shared_ = shared;
      prepare_groups(some);
      scan_heads(some);
    });
  }

 private:
  size_t first_of(Chunks some, size_t c) const { return some.first + c * chunk_; }
  size_t length_of(Chunks some, size_t c) const {
    return std::min(chunk_, p_.length - first_of(some, c));
  }
  // What chunk c has of group g in sequence b.
  float* shared_of(Chunks some, size_t b, size_t g, size_t c) const {
    return shared_ + ((b * p_.groups + g) * some.count + c) * shared_size_;
  }

  // What the heads of a group share.
  void prepare_groups(Chunks some) const {
    const size_t count = some.count, cost = chunk_ * chunk_ * p_.d_state / kScanSpeedup;
    threads_.parallel_for(
        size_t{p_.batch} * p_.groups * count, cost, [&](size_t begin, size_t end) {
          float* work = scratch<Scratch::kOwn>(sizes_.work);
          for (size_t i = begin; i < end; ++i) {
            const size_t c = i % count, g = i / count % p_.groups, b = i / count / p_.groups;
            if (rows_[b] < p_.slots) prepare_group(some, b, g, c, work);
          }
        });
  }

  void prepare_group(Chunks some, size_t b, size_t g, size_t c, float* work) const {
    const size_t token = b * p_.length + first_of(some, c);
    float* packed = shared_of(some, b, g, c);
    kernels_.ssd_scores({
        .length = length_of(some, c),
        .d_state = p_.d_state,
        .B = B_ + token * p_.b_stride + g * p_.d_state,
        .b_stride = p_.b_stride,
        .C = C_ + token * p_.c_stride + g * p_.d_state,
        .c_stride = p_.c_stride,
        .packed_c = packed,
        .padded_b = packed + c_size_,
        .scores = packed + c_size_ + b_size_,
        .work = work,
    });
  }

  void scan_heads(Chunks some) const {
    const size_t tokens = std::min(some.count * chunk_, p_.length - some.first);
    const size_t cost = tokens * p_.head_dim * (2 * p_.d_state + chunk_) / kScanSpeedup;
    threads_.parallel_for(size_t{p_.batch} * p_.heads, cost, [&](size_t begin, size_t end) {
      const size_t state_size = cache_lines(sizes_.state);
      float* transposed = scratch<Scratch::kOwn>(state_size + sizes_.work);
      Steps steps;
      for (size_t i = begin; i < end; ++i) {
        const size_t b = i / p_.heads, h = i % p_.heads;
        if (rows_[b] >= p_.slots) continue;
        float* S = state_ + (size_t{rows_[b]} * p_.heads + h) * p_.head_dim * p_.d_state;
        states_.transpose(S, transposed);
        for (size_t c = 0; c < some.count; ++c) {
          threads_.throw_if_cancelled();
          scan_chunk(some, b, h, c, steps, transposed, transposed + state_size);
        }
        states_.transpose_back(transposed, S);
      }
    });
  }

  // Of the tokens of a chunk.
  struct Steps {
    float factor[kSsdPadding] = {};  // of x: dt, discrete: 1
    // Two floats a number: differences of long sums are exponents, and their error is relative
    // error in y.
    float a_high[kSsdPadding] = {}, a_low[kSsdPadding] = {};
  };

  void find_steps(size_t token, size_t length, size_t h, Steps& steps) const {
    double sum = 0;
    for (size_t t = 0; t < length; ++t) {
      const float given = dt_[(token + t) * p_.dt_stride + h];
      const float step = step_size(given, dt_bias_[h], p_.dt_min, p_.dt_max);
      steps.factor[t] = p_.discrete != 0 ? 1.0f : step;
      sum += static_cast<double>(step) * A_[h];
      steps.a_high[t] = static_cast<float>(sum);
      steps.a_low[t] = static_cast<float>(sum - static_cast<double>(steps.a_high[t]));
    }
  }

  // Chunk c of head h in sequence b.
  void scan_chunk(Chunks some, size_t b, size_t h, size_t c, Steps& steps, float* transposed,
                  float* work) const {
    const size_t length = length_of(some, c), token = b * p_.length + first_of(some, c);
    find_steps(token, length, h, steps);
    const float* packed = shared_of(some, b, h / (p_.heads / p_.groups), c);
    kernels_.ssd_chunk({
        .length = length,
        .head_dim = p_.head_dim,
        .d_state = p_.d_state,
        .x = x_ + token * p_.x_stride + h * p_.head_dim,
        .x_stride = p_.x_stride,
        .a_high = steps.a_high,
        .a_low = steps.a_low,
        .factor = steps.factor,
        .D = D_[h],
        .packed_c = packed,
        .padded_b = packed + c_size_,
        .scores = packed + c_size_ + b_size_,
        .state = transposed,
        .out = out_ + (token * p_.heads + h) * p_.head_dim,
        .out_stride = size_t{p_.heads} * p_.head_dim,
        .work = work,
    });
  }

  const SsdChunkScanParams p_;
  const float* x_;        // (batch, length, heads, head_dim)
  const float* dt_;       // (batch, length, heads)
  const float* A_;        // (heads), negative
  const float* B_;        // (batch, length, groups, d_state)
  const float* C_;        // (batch, length, groups, d_state)
  const float* D_;        // (heads)
  const float* dt_bias_;  // (heads)
  float* state_;          // (slots, heads, head_dim, d_state)
  const uint32_t* rows_;  // (batch), each slot once
  float* out_;            // (batch, length, heads, head_dim)
  ThreadPool& threads_;
  const Kernels& kernels_;
  const size_t chunk_;  // tokens
  const SsdSizes sizes_;
  const HeadStates states_;
  const size_t c_size_, b_size_, shared_size_;  // floats of a chunk of a group
  float* shared_ = nullptr;                     // (batch, groups, chunks, shared_size_)
};

}  // namespace

void ssd_chunk_scan(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  Scan(operation, threads, kernels).run();
}

}  // namespace ssm::cpu::fast
