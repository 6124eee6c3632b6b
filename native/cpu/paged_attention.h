// What the operations on pages of keys and values share.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "metal/pages.h"
#include "native/cpu/attention.h"
#include "native/data_type.h"

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

// out *= sigmoid(gate)
inline void gate_head(const float* gate, size_t head_dim, float* out) {
  for (size_t d = 0; d < head_dim; ++d) out[d] /= 1.0f + std::exp(-gate[d]);
}

}  // namespace ssm::cpu
