// The first operation of a list: which slots its rows have, and where their sequences stand.
//   rows[i], positions[i], tokens[i] = s, position[s], token[s]; then position[s] += count
// with s = slots[i]. A row whose s is no slot, or whose sequence may draw no more tokens, gets
// kNoSlot, 0, 0.
#include "metal/resolve_rows.h"

#include "native/cpu/operations.h"

namespace ssm::cpu {

void resolve_rows(const Operation& operation, ThreadPool&) {
  const auto p = operation.params<ResolveRowsParams>();
  const auto* slots = operation.data<const uint32_t>(0);      // (batch), each slot once
  const auto* remaining = operation.data<const uint32_t>(1);  // (slots)
  const auto* token = operation.data<const uint32_t>(2);      // (slots)
  auto* position = operation.data<uint32_t>(3);               // (slots)
  auto* rows = operation.data<uint32_t>(4);                   // (batch)
  auto* positions = operation.data<uint32_t>(5);              // (batch)
  auto* tokens = operation.data<uint32_t>(6);                 // (batch), if has_tokens
  for (size_t i = 0; i < p.batch; ++i) {
    const uint32_t slot = slots[i];
    const bool is_live = slot < p.slots && remaining[slot] > 0;
    rows[i] = is_live ? slot : uint32_t{kNoSlot};
    positions[i] = is_live ? position[slot] : 0;
    if (p.has_tokens != 0) tokens[i] = is_live ? token[slot] : 0;
    if (is_live) position[slot] += p.count;
  }
}

}  // namespace ssm::cpu
