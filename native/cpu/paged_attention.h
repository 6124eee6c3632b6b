// What the operations on pages of keys and values share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "metal/paged_attention_decode.h"
#include "metal/pages.h"
#include "native/cpu/attention.h"
#include "native/cpu/rotary.h"
#include "native/data_type.h"
#include "native/operation.h"

namespace ssm::cpu {

// The pages of the sequence of one row, in the order of its positions.
class RowPages {
 public:
  // `table` (slots, pages_per_slot), `slot` of the row, and the `positions` that it is to have.
  template <class Params>
  RowPages(const Params& p, const uint32_t* table, uint32_t slot, size_t positions)
      : ids_(slot < p.slots ? table + size_t{slot} * p.pages_per_slot : nullptr),
        page_count_(p.page_count) {
    const size_t pages = (positions + kPagePositions - 1) / kPagePositions;
    if (pages > p.pages_per_slot) ids_ = nullptr;
    for (size_t i = 0; i < pages && ids_ != nullptr; ++i) {
      if (ids_[i] >= page_count_) ids_ = nullptr;
    }
  }

  // Whether the row has a slot and all of its pages exist. Otherwise there is nothing to do for it.
  explicit operator bool() const { return ids_ != nullptr; }

  // Where a position is, in rows of keys or values.
  size_t row(size_t position) const {
    return size_t{ids_[position / kPagePositions]} * kPagePositions + position % kPagePositions;
  }

 private:
  const uint32_t* ids_;
  uint32_t page_count_;
};

// One row of k or v into the pages.
template <class Stored>
void write_row(const float* from, size_t cols, Stored* to) {
  for (size_t c = 0; c < cols; ++c) to[c] = from_float<Stored>(from[c]);
}

// As write_row, into row `row` of keys or values of a type that is known at run time.
inline void store_row(const float* from, size_t cols, DataType type, void* pages, size_t row) {
  with_float_type(type, [&](const auto* stored) {
    using Stored = std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>;
    write_row(from, cols, static_cast<Stored*>(pages) + row * cols);
  });
}

// As attend, for one query head over positions 0 to count - 1. `column`: of its key/value head
// among the cols of a row.
inline void attend_pages(const float* q, DataType type, const void* keys, const void* values,
                         const RowPages& pages, size_t column, size_t cols, size_t count,
                         size_t head_dim, float scale, float* scores, float* out) {
  with_float_type(type, [&](const auto* stored) {
    const auto at = [&](const void* all, size_t j) {
      return static_cast<decltype(stored)>(all) + pages.row(j) * cols + column;
    };
    attend(
        q, [&](size_t j) { return at(keys, j); }, [&](size_t j) { return at(values, j); }, count,
        head_dim, scale, scores, out);
  });
}

// What paged_attention_decode begins with: the new key and value of each row, normed and turned,
// enter its pages; its query heads, the same, go to `queries` (batch, heads, head_dim). Returns the
// most positions that a row has.
inline size_t enter_pages(const Operation& operation, const PagedAttentionDecodeParams& p,
                          float* queries) {
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim or twice)
  const auto* k = operation.data<const float>(1);            // (batch, kv_heads, head_dim)
  const auto* v = operation.data<const float>(2);            // (batch, kv_heads, head_dim)
  const auto* q_norm = operation.data<const float>(3);       // (head_dim), or absent
  const auto* k_norm = operation.data<const float>(4);       // (head_dim), or absent
  const auto* frequencies = operation.data<const float>(5);  // (rotary_dim / 2), or absent
  const auto* table = operation.data<const uint32_t>(8);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(9);  // (batch)
  const auto* rows = operation.data<const uint32_t>(10);     // (batch), each slot once
  const DataType type = operation.bindings[6].type;
  const size_t head_dim = p.head_dim, cols = p.kv_heads * head_dim;
  const size_t head_stride = p.gated ? 2 * head_dim : head_dim;
  const Rotary rotary = {p.rotary_dim, p.interleaved != 0, frequencies, p.attention_factor};
  std::vector<float> turns(p.rotary_dim), key(cols);
  size_t longest = 0;
  for (size_t b = 0; b < p.batch; ++b) {
    const size_t count = size_t{position[b]} + 1;
    const RowPages pages(p, table, rows[b], count);
    if (!pages) continue;
    longest = std::max(longest, count);
    find_turns(rotary, position[b], turns.data());
    const auto prepare = [&](const float* from, const float* norm, float* to) {
      norm_head(from, norm, p.eps, head_dim, to);
      turn_head(rotary, turns.data(), to);
    };
    for (size_t h = 0; h < p.kv_heads; ++h) {
      prepare(k + b * p.k_stride + h * head_dim, k_norm, key.data() + h * head_dim);
    }
    for (size_t h = 0; h < p.heads; ++h) {
      prepare(q + b * p.q_stride + h * head_stride, q_norm, queries + (b * p.heads + h) * head_dim);
    }
    const size_t row = pages.row(position[b]);
    store_row(key.data(), cols, type, operation.data<void>(6), row);
    store_row(v + b * p.v_stride, cols, type, operation.data<void>(7), row);
  }
  return longest;
}

// out *= sigmoid(gate)
inline void gate_head(const float* gate, size_t head_dim, float* out) {
  for (size_t d = 0; d < head_dim; ++d) out[d] /= 1.0f + std::exp(-gate[d]);
}

}  // namespace ssm::cpu
