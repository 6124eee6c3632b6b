// What native/cpu/operations/paged_attention_decode.cpp computes. The keys of a row are divided
// into parts of whole pages, so that threads share a long context; which keys are in a part depends
// on the row's position alone.
#include "metal/paged_attention_decode.h"

#include <algorithm>

#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"

namespace ssm::cpu::fast {

namespace {

constexpr size_t kParts = 16;  // of a row, at most

struct DecodeSizes {
  PagedAttentionDecodeParams p;
  size_t head_dim, cols, sharing;
  DataType type;
};

// What one part of the keys gives for the heads of a key/value head: for each of them sums of
// columns, and the softmax that they belong to.
void attend_part(const DecodeSizes& sizes, const void* keys, const void* values,
                 const RowPages& pages, size_t kv, size_t first, size_t end, const float* queries,
                 const Kernels& kernels, RunningSoftmax* softmax, float* sums) {
  const size_t head_dim = sizes.head_dim, bytes = size_of(sizes.type);
  float* scores = scratch<Scratch::kOwn>(kPagePositions * (1 + 2 * head_dim));
  float* wide_keys = scores + kPagePositions;
  float* wide_values = wide_keys + kPagePositions * head_dim;
  std::fill_n(sums, sizes.sharing * head_dim, 0.0f);
  std::fill_n(softmax, sizes.sharing, RunningSoftmax{});
  for (size_t j = first; j < end; j += kPagePositions) {
    const size_t count = std::min<size_t>(kPagePositions, end - j);
    const size_t at = (pages.row(j) * sizes.cols + kv * head_dim) * bytes;
    const auto* page_keys = static_cast<const char*>(keys) + at;
    const auto* page_values = static_cast<const char*>(values) + at;
    const float* some_keys = reinterpret_cast<const float*>(page_keys);
    const float* some_values = reinterpret_cast<const float*>(page_values);
    size_t stride = sizes.cols;
    if (sizes.type != kFloat32) {
      for (size_t i = 0; i < count; ++i) {
        const size_t row = i * sizes.cols * bytes;
        kernels.widen(page_keys + row, sizes.type, head_dim, wide_keys + i * head_dim);
        kernels.widen(page_values + row, sizes.type, head_dim, wide_values + i * head_dim);
      }
      some_keys = wide_keys;
      some_values = wide_values;
      stride = head_dim;
    }
    for (size_t h = 0; h < sizes.sharing; ++h) {
      kernels.attend_keys(queries + h * head_dim, some_keys, some_values, stride, count, head_dim,
                          sizes.p.scale, scores, softmax + h, sums + h * head_dim);
    }
  }
}

// Puts the parts of a head together in the first of them; their sums lie sums_stride apart, their
// softmax softmax_stride.
void join_parts(size_t parts, size_t head_dim, size_t softmax_stride, size_t sums_stride,
                const Kernels& kernels, RunningSoftmax* softmax, float* sums) {
  float largest = softmax->largest;
  for (size_t i = 1; i < parts; ++i) {
    largest = std::max(largest, softmax[i * softmax_stride].largest);
  }
  float total = 0.0f;
  for (size_t i = 0; i < parts; ++i) {
    const RunningSoftmax& part = softmax[i * softmax_stride];
    const float factor = std::exp(part.largest - largest);
    total += factor * part.total;
    kernels.correct_sums(sums + i * sums_stride, head_dim, factor);
    if (i == 0) continue;
    for (size_t d = 0; d < head_dim; ++d) sums[d] += sums[i * sums_stride + d];
  }
  *softmax = {.largest = largest, .total = total};
}

}  // namespace

void paged_attention_decode(const Operation& operation, ThreadPool& threads,
                            const Kernels& kernels) {
  const auto p = operation.params<PagedAttentionDecodeParams>();
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim or twice)
  const auto* keys = operation.data<const void>(6);          // (page_count, 256, cols)
  const auto* values = operation.data<const void>(7);        // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(8);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(9);  // (batch)
  const auto* rows = operation.data<const uint32_t>(10);     // (batch), each slot once
  auto* out = operation.data<float>(11);                     // (batch, heads, head_dim)
  const size_t head_dim = p.head_dim, heads = size_t{p.batch} * p.heads;
  const DecodeSizes sizes = {p, head_dim, p.kv_heads * head_dim, p.heads / p.kv_heads,
                             operation.bindings[6].type};

  // Parts that a row has, at most; then queries, and of each row and part sums of all heads and
  // their softmax.
  const size_t last = *std::max_element(position, position + p.batch);
  const size_t parts = std::min({kParts, size_t{p.pages_per_slot}, last / kPagePositions + 1});
  constexpr size_t kFloatsOfSoftmax = sizeof(RunningSoftmax) / sizeof(float);
  float* queries =
      scratch<Scratch::kShared>(heads * (head_dim + parts * (head_dim + kFloatsOfSoftmax)));
  float* sums = queries + heads * head_dim;
  auto* softmax = reinterpret_cast<RunningSoftmax*>(sums + heads * parts * head_dim);
  const size_t longest = enter_pages(operation, p, queries);

  const auto pages_each = [&](size_t count) {
    return (count + kParts * kPagePositions - 1) / (kParts * kPagePositions);
  };
  const size_t cost =
      std::min<size_t>(longest, pages_each(longest) * kPagePositions) * head_dim * sizes.sharing;
  threads.parallel_for(size_t{p.batch} * parts * p.kv_heads, cost, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const size_t kv = i % p.kv_heads, part = i / p.kv_heads % parts;
      const size_t b = i / p.kv_heads / parts, count = size_t{position[b]} + 1;
      const size_t positions = pages_each(count) * kPagePositions, first = part * positions;
      const RowPages pages(p, table, rows[b], count);
      if (!pages || first >= count) continue;
      const size_t head = kv * sizes.sharing, at = (b * parts + part) * p.heads + head;
      attend_part(sizes, keys, values, pages, kv, first, std::min(count, first + positions),
                  queries + (b * p.heads + head) * head_dim, kernels, softmax + at,
                  sums + at * head_dim);
    }
  });
  threads.parallel_for(heads, parts * head_dim, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, count = size_t{position[b]} + 1;
      if (!RowPages(p, table, rows[b], count)) continue;
      const size_t positions = pages_each(count) * kPagePositions;
      const size_t at = b * parts * p.heads + h;
      join_parts((count + positions - 1) / positions, head_dim, p.heads, p.heads * head_dim,
                 kernels, softmax + at, sums + at * head_dim);
      const float* gate = p.gated ? q + b * p.q_stride + (2 * h + 1) * head_dim : nullptr;
      kernels.finish_head(sums + at * head_dim, softmax[at].total, gate, head_dim,
                          out + i * head_dim);
    }
  });
}

}  // namespace ssm::cpu::fast
