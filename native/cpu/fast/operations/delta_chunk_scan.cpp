// The scan of native/cpu/operations/delta_chunk_scan.cpp, chunk by chunk as products of tiles
// (fast/delta_kernels.h). First, for a few chunks, what the heads that read the same q and k share;
// then head by head, whose state stays transposed in the thread's scratch from one chunk to the
// next.
#include "metal/delta_chunk_scan.h"

#include <algorithm>

#include "native/cpu/activations.h"
#include "native/cpu/delta.h"
#include "native/cpu/fast/chunks_together.h"
#include "native/cpu/fast/head_states.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

namespace {

// What a chunk has of a head of q and k, both normed.
struct Shared {
  float *packed_q, *packed_k, *padded_k;
  float *scores, *key_scores;  // of q with k, and of k with k
};

class DeltaScan {
 public:
  DeltaScan(const Operation& operation, ThreadPool& threads, const Kernels& kernels)
      : p_(operation.params<DeltaChunkScanParams>()),
        q_(operation.data<const float>(0)),
        k_(operation.data<const float>(1)),
        v_(operation.data<const float>(2)),
        b_(operation.data<const float>(3)),
        a_(operation.data<const float>(4)),
        A_(operation.data<const float>(5)),
        dt_bias_(operation.data<const float>(6)),
        state_(operation.data<float>(7)),
        rows_(operation.data<const uint32_t>(8)),
        out_(operation.data<float>(9)),
        threads_(threads),
        kernels_(kernels),
        chunk_(std::min(size_t{p_.length}, kLongestSsdChunk)),
        sizes_(kernels.ssd_sizes(chunk_, p_.value_dim, p_.key_dim)),
        states_(kernels, p_.value_dim, p_.key_dim, sizes_.state),
        shared_size_(2 * cache_lines(sizes_.c) + cache_lines(sizes_.b) +
                     2 * cache_lines(sizes_.scores)) {}

  void run() {
    const size_t sequences = size_t{p_.batch} * p_.key_heads;
    chunks_together(p_.length, chunk_, sequences, shared_size_, [&](float* shared, Chunks some) {
      shared_ = shared;
      prepare_keys(some);
      scan_heads(some);
    });
  }

 private:
  size_t first_of(Chunks some, size_t c) const { return some.first + c * chunk_; }
  size_t length_of(Chunks some, size_t c) const {
    return std::min(chunk_, p_.length - first_of(some, c));
  }
  // What chunk c has of head g of q and k in sequence r.
  Shared shared_of(Chunks some, size_t r, size_t g, size_t c) const {
    float* at = shared_ + ((r * p_.key_heads + g) * some.count + c) * shared_size_;
    const auto take = [&](size_t floats) {
      float* taken = at;
      at += cache_lines(floats);
      return taken;
    };
    Shared shared;
    shared.packed_q = take(sizes_.c);
    shared.packed_k = take(sizes_.c);
    shared.padded_k = take(sizes_.b);
    shared.scores = take(sizes_.scores);
    shared.key_scores = take(sizes_.scores);
    return shared;
  }

  // What the heads that read the same q and k share.
  void prepare_keys(Chunks some) const {
    const size_t count = some.count, heads = p_.key_heads;
    const size_t cost = 2 * chunk_ * chunk_ * p_.key_dim / kScanSpeedup;
    threads_.parallel_for(p_.batch * heads * count, cost, [&](size_t begin, size_t end) {
      float* normed = scratch<Scratch::kOwn>(2 * chunk_ * p_.key_dim + sizes_.work);
      for (size_t i = begin; i < end; ++i) {
        const size_t c = i % count, g = i / count % heads, r = i / count / heads;
        if (rows_[r] < p_.slots) prepare_head(some, r, g, c, normed);
      }
    });
  }

  void prepare_head(Chunks some, size_t r, size_t g, size_t c, float* normed) const {
    const size_t token = r * p_.length + first_of(some, c), length = length_of(some, c);
    const Shared shared = shared_of(some, r, g, c);
    float* q = normed;
    float* k = q + chunk_ * p_.key_dim;
    norm_rows(q_ + token * p_.q_stride + g * p_.key_dim, p_.q_stride, length, p_.scale, q);
    norm_rows(k_ + token * p_.k_stride + g * p_.key_dim, p_.k_stride, length, 1.0f, k);
    SsdGroup group = {
        .length = length,
        .d_state = p_.key_dim,
        .B = k,
        .b_stride = p_.key_dim,
        .C = q,
        .c_stride = p_.key_dim,
        .packed_c = shared.packed_q,
        .padded_b = shared.padded_k,
        .scores = shared.scores,
        .work = k + chunk_ * p_.key_dim,
    };
    kernels_.ssd_scores(group);
    group.C = k;
    group.packed_c = shared.packed_k;
    group.padded_b = nullptr;
    group.scores = shared.key_scores;
    kernels_.ssd_scores(group);
  }

  void norm_rows(const float* x, size_t stride, size_t length, float scale, float* out) const {
    for (size_t t = 0; t < length; ++t) {
      const float* row = x + t * stride;
      const float squares = kernels_.sum_of_squares(row, p_.key_dim);
      to_length(row, p_.key_dim, squares, p_.eps, scale, out + t * p_.key_dim);
    }
  }

  void scan_heads(Chunks some) const {
    const size_t tokens = std::min(some.count * chunk_, p_.length - some.first);
    const size_t cost = tokens * p_.value_dim * (3 * p_.key_dim + chunk_) / kScanSpeedup;
    threads_.parallel_for(size_t{p_.batch} * p_.heads, cost, [&](size_t begin, size_t end) {
      const size_t state_size = cache_lines(sizes_.state);
      float* transposed = scratch<Scratch::kOwn>(state_size + kernels_.delta_work(chunk_));
      Steps steps;
      for (size_t i = begin; i < end; ++i) {
        const size_t r = i / p_.heads, h = i % p_.heads;
        if (rows_[r] >= p_.slots) continue;
        float* S = state_ + (size_t{rows_[r]} * p_.heads + h) * p_.value_dim * p_.key_dim;
        states_.transpose(S, transposed);
        for (size_t c = 0; c < some.count; ++c) {
          threads_.throw_if_cancelled();
          scan_chunk(some, r, h, c, steps, transposed, transposed + state_size);
        }
        states_.transpose_back(transposed, S);
      }
    });
  }

  // Of the tokens of a chunk.
  struct Steps {
    float beta[kSsdPadding] = {};
    // Two floats a number, as in fast/operations/ssd_chunk_scan.cpp.
    float a_high[kSsdPadding] = {}, a_low[kSsdPadding] = {};
  };

  void find_steps(size_t token, size_t length, size_t h, Steps& steps) const {
    double sum = 0;
    for (size_t t = 0; t < length; ++t) {
      steps.beta[t] = sigmoid(b_[(token + t) * p_.b_stride + h]);
      sum += double{log_decay(A_[h], a_[(token + t) * p_.a_stride + h], dt_bias_[h])};
      steps.a_high[t] = static_cast<float>(sum);
      steps.a_low[t] = static_cast<float>(sum - double{steps.a_high[t]});
    }
  }

  // Chunk c of head h in sequence r.
  void scan_chunk(Chunks some, size_t r, size_t h, size_t c, Steps& steps, float* transposed,
                  float* work) const {
    const size_t length = length_of(some, c), token = r * p_.length + first_of(some, c);
    find_steps(token, length, h, steps);
    const Shared shared = shared_of(some, r, h / (p_.heads / p_.key_heads), c);
    kernels_.delta_chunk({
        .ssd =
            {
                .length = length,
                .head_dim = p_.value_dim,
                .d_state = p_.key_dim,
                .x = v_ + token * p_.v_stride + h * p_.value_dim,
                .x_stride = p_.v_stride,
                .a_high = steps.a_high,
                .a_low = steps.a_low,
                .factor = steps.beta,
                .D = 0.0f,
                .packed_c = shared.packed_q,
                .padded_b = shared.padded_k,
                .scores = shared.scores,
                .state = transposed,
                .out = out_ + (token * p_.heads + h) * p_.value_dim,
                .out_stride = size_t{p_.heads} * p_.value_dim,
                .work = work,
            },
        .packed_k = shared.packed_k,
        .key_scores = shared.key_scores,
    });
  }

  const DeltaChunkScanParams p_;
  const float* q_;        // (batch, length, key_heads, key_dim)
  const float* k_;        // (batch, length, key_heads, key_dim)
  const float* v_;        // (batch, length, heads, value_dim)
  const float* b_;        // (batch, length, heads)
  const float* a_;        // (batch, length, heads)
  const float* A_;        // (heads), negative
  const float* dt_bias_;  // (heads)
  float* state_;          // (slots, heads, value_dim, key_dim)
  const uint32_t* rows_;  // (batch), each slot once
  float* out_;            // (batch, length, heads, value_dim)
  ThreadPool& threads_;
  const Kernels& kernels_;
  const size_t chunk_;  // tokens
  const SsdSizes sizes_;
  const HeadStates states_;
  const size_t shared_size_;  // floats of a chunk of a head of q and k
  float* shared_ = nullptr;   // (batch, key_heads, chunks, shared_size_)
};

}  // namespace

void delta_chunk_scan(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  DeltaScan(operation, threads, kernels).run();
}

}  // namespace ssm::cpu::fast
