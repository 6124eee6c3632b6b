// What native/cpu/operations/paged_attention_prefill.cpp computes, as matrix products: scores of a
// block of tokens and a page of keys, and their weights times a page of values. A thread takes a
// block of tokens for all query heads of a key/value head, which share what it packs of a page.
#include "metal/paged_attention_prefill.h"

#include <algorithm>

#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"

namespace ssm::cpu::fast {

namespace {

constexpr size_t kBlockTokens = 64;  // of a block, about
// Kernels do about so many products in the time of one step of a plain loop.
constexpr size_t kProductSpeedup = 8;

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// PrefillSizes of what a thread works with, in floats.
struct PrefillSizes {
  PrefillSizes(const PagedAttentionPrefillParams& p, const Kernels& kernels)
      : head_dim(p.head_dim),
        cols(size_t{p.kv_heads} * p.head_dim),
        sharing(p.heads / p.kv_heads),
        tokens(round_up(kBlockTokens, kernels.tile_rows)),
        key_stride(round_up(kPagePositions, kernels.tile_cols)),
        sum_stride(round_up(p.head_dim, kernels.tile_cols)) {}

  size_t head_dim, cols, sharing;
  size_t tokens;      // of a block: whole tiles
  size_t key_stride;  // of scores from token to token
  size_t sum_stride;  // of sums
};

// What a thread works with, in its scratch memory.
struct PrefillWork {
  explicit PrefillWork(const PrefillSizes& s) {
    const size_t rows = s.sharing * s.tokens;
    const size_t sizes[] = {rows * s.head_dim,
                            rows * s.sum_stride,
                            s.key_stride * s.head_dim,
                            size_t{kPagePositions} * s.sum_stride,
                            s.tokens * s.key_stride,
                            s.tokens * size_t{kPagePositions},
                            rows * (sizeof(RunningSoftmax) / sizeof(float))};
    size_t all = 0;
    for (const size_t size : sizes) all += cache_lines(size);
    float* at = scratch<Scratch::kOwn>(all);
    float** parts[] = {&queries, &sums, &keys, &values, &scores, &weights};
    for (size_t i = 0; i < std::size(parts); ++i) {
      *parts[i] = at;
      at += cache_lines(sizes[i]);
    }
    softmax = reinterpret_cast<RunningSoftmax*>(at);
  }

  float* queries;           // (sharing) blocks of packed tiles
  float* sums;              // (sharing, tokens, sum_stride)
  float* keys;              // panels of a page
  float* values;            // panels of a page
  float* scores;            // (tokens, key_stride) of a head
  float* weights;           // the same, packed
  RunningSoftmax* softmax;  // (sharing, tokens)
};

// A block of tokens of one sequence and the query heads of one key/value head.
struct TokenBlock {
  const float* q;     // the first head of the first token
  const float* gate;  // of that head, or null
  float* out;
  size_t q_stride, head_stride, out_stride;
  size_t kv, position, tokens;  // position of the first token
};

void pack_queries(const PrefillSizes& s, const TokenBlock& block, const Kernels& kernels,
                  const PrefillWork& work) {
  const size_t tile = kernels.tile_rows;
  for (size_t h = 0; h < s.sharing; ++h) {
    for (size_t t = 0; t < block.tokens; t += tile) {
      kernels.pack_rows(block.q + h * block.head_stride + t * block.q_stride, block.q_stride,
                        std::min(tile, block.tokens - t), s.head_dim,
                        work.queries + (h * s.tokens + t) * s.head_dim);
    }
  }
  std::fill_n(work.sums, s.sharing * s.tokens * s.sum_stride, 0.0f);
  std::fill_n(work.softmax, s.sharing * s.tokens, RunningSoftmax{});
}

// Takes `count` keys from position `first` on, whose panels are packed, into one head.
void attend_page(const PrefillSizes& s, const TokenBlock& block, size_t h, size_t first,
                 size_t count, float scale, const Kernels& kernels, const PrefillWork& work) {
  const size_t tile = kernels.tile_rows;
  const auto panels = [&](size_t n) { return (n + kernels.tile_cols - 1) / kernels.tile_cols; };
  float* sums = work.sums + h * s.tokens * s.sum_stride;
  kernels.multiply_tiles(work.queries + h * s.tokens * s.head_dim, tile * s.head_dim, block.tokens,
                         work.keys, panels(count), s.head_dim, work.scores, s.key_stride, false,
                         {});
  for (size_t t = 0; t < block.tokens; ++t) {
    const size_t past_end = block.position + t + 1;  // of what the token sees
    const size_t visible = std::min(count, past_end - std::min(past_end, first));
    const float correction = kernels.take_scores(work.scores + t * s.key_stride, visible, count,
                                                 scale, work.softmax + h * s.tokens + t);
    kernels.correct_sums(sums + t * s.sum_stride, s.sum_stride, correction);
  }
  for (size_t t = 0; t < block.tokens; t += tile) {
    kernels.pack_rows(work.scores + t * s.key_stride, s.key_stride,
                      std::min(tile, block.tokens - t), count, work.weights + t * count);
  }
  kernels.multiply_tiles(work.weights, tile * count, block.tokens, work.values, panels(s.head_dim),
                         count, sums, s.sum_stride, true, {});
}

void finish_block(const PrefillSizes& s, const TokenBlock& block, const Kernels& kernels,
                  const PrefillWork& work) {
  for (size_t h = 0; h < s.sharing; ++h) {
    for (size_t t = 0; t < block.tokens; ++t) {
      const size_t at = h * s.tokens + t;
      const float* gate =
          block.gate == nullptr ? nullptr : block.gate + h * block.head_stride + t * block.q_stride;
      kernels.finish_head(work.sums + at * s.sum_stride, work.softmax[at].total, gate, s.head_dim,
                          block.out + t * block.out_stride + h * s.head_dim);
    }
  }
}

}  // namespace

void paged_attention_prefill(const Operation& operation, ThreadPool& threads,
                             const Kernels& kernels) {
  const auto p = operation.params<PagedAttentionPrefillParams>();
  const auto* q = operation.data<const float>(0);      // (batch, length, heads, head_dim or twice)
  const auto* keys = operation.data<const char>(1);    // (page_count, 256, cols)
  const auto* values = operation.data<const char>(2);  // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(3);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  const auto* rows = operation.data<const uint32_t>(5);      // (batch), each slot once
  auto* out = operation.data<float>(6);                      // (batch, length, heads, head_dim)
  const DataType type = operation.bindings[1].type;
  const PrefillSizes s(p, kernels);
  const size_t blocks = (p.length + s.tokens - 1) / s.tokens;
  const size_t head_stride = p.gated ? 2 * s.head_dim : s.head_dim;

  for (size_t b = 0; b < p.batch; ++b) {
    const RowPages pages(p, table, rows[b], size_t{position[b]} + p.length);
    if (!pages) continue;
    const size_t cost = (position[b] + p.length / 2 + 1) * s.head_dim * s.sharing *
                        std::min<size_t>(s.tokens, p.length) * 2 / kProductSpeedup;
    threads.parallel_for(blocks * p.kv_heads, cost, [&](size_t begin, size_t end) {
      const PrefillWork work(s);
      for (size_t i = begin; i < end; ++i) {
        const size_t kv = i / blocks, t0 = i % blocks * s.tokens, h = kv * s.sharing;
        const float* queries = q + (b * p.length + t0) * p.q_stride + h * head_stride;
        const TokenBlock block = {queries,
                                  p.gated ? queries + s.head_dim : nullptr,
                                  out + ((b * p.length + t0) * p.heads + h) * s.head_dim,
                                  p.q_stride,
                                  head_stride,
                                  size_t{p.heads} * s.head_dim,
                                  kv,
                                  position[b] + t0,
                                  std::min(s.tokens, p.length - t0)};
        pack_queries(s, block, kernels, work);
        const size_t seen = block.position + block.tokens;
        for (size_t first = 0; first < seen; first += kPagePositions) {
          threads.throw_if_cancelled();
          const size_t count = std::min<size_t>(kPagePositions, seen - first);
          const size_t at = pages.row(first) * s.cols * size_of(type);
          const auto page = [&](const char* all) {
            return PlainRows{all + at, type, static_cast<uint32_t>(s.cols), 0, count};
          };
          kernels.pack_plain(page(keys), kv * s.head_dim, s.head_dim, work.keys);
          kernels.pack_columns(page(values), kv * s.head_dim, s.head_dim, work.values);
          for (size_t each = 0; each < s.sharing; ++each) {
            attend_page(s, block, each, first, count, p.scale, kernels, work);
          }
        }
        finish_block(s, block, kernels, work);
      }
    });
  }
}

}  // namespace ssm::cpu::fast
