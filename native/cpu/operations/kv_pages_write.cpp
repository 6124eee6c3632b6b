// Keys and values of a step or of a chunk into the pages of their sequences. The token at absolute
// position t of a sequence goes to row t mod 256 of the page that the table has for t / 256.
#include "metal/kv_pages_write.h"

#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"

namespace ssm::cpu {

void kv_pages_write(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<KvPagesWriteParams>();
  const auto* k = operation.data<const float>(0);            // (batch, length, cols)
  const auto* v = operation.data<const float>(1);            // (batch, length, cols)
  auto* keys = operation.data<void>(2);                      // (page_count, 256, cols)
  auto* values = operation.data<void>(3);                    // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(4);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(5);  // (batch)
  const auto* rows = operation.data<const uint32_t>(6);      // (batch), each slot once
  const DataType type = operation.bindings[2].type;
  threads.parallel_for(size_t{p.batch} * p.length, 4 * p.cols, [&](size_t begin, size_t end) {
    for (size_t token = begin; token < end; ++token) {
      const size_t b = token / p.length;
      const size_t t = size_t{position[b]} + token % p.length;
      if (rows[b] >= p.slots || t / kPagePositions >= p.pages_per_slot) continue;
      const uint32_t page = table[size_t{rows[b]} * p.pages_per_slot + t / kPagePositions];
      if (page >= p.page_count) continue;
      const size_t row = size_t{page} * kPagePositions + t % kPagePositions;
      store_row(k + token * p.k_stride, p.cols, type, keys, row);
      store_row(v + token * p.v_stride, p.cols, type, values, row);
    }
  });
}

}  // namespace ssm::cpu
