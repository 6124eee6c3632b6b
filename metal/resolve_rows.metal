// The first operation of a list: which slots its rows have, and where their sequences stand. With
// s = asked[i]:
//   rows[i], positions[i], tokens[i] = s, position[s], token[s]; then position[s] += count
// A row whose s is no slot, or whose sequence is done (remaining[s] = 0), gets kNoSlot, 0, 0.
//
// Grid: one thread a row. Limits: no slot twice.
#include <metal_stdlib>

#include "metal/constants.h"
#include "metal/resolve_rows.h"

SSM_CONSTANT(bool, has_tokens);

[[kernel]] void resolve_rows(device const uint* asked [[buffer(0)]],           // (batch): slots
                             device const uint* remaining [[buffer(1)]],       // (slots)
                             device const uint* token [[buffer(2)]],           // (slots)
                             device uint* position [[buffer(3)]],              // (slots)
                             device uint* rows [[buffer(4)]],                  // (batch): slots
                             device uint* positions [[buffer(5)]],             // (batch)
                             SSM_OPTIONAL(has_tokens, 6, device uint* tokens)  // (batch)
                             constant ResolveRowsParams& p [[buffer(7)]],
                             uint i [[thread_position_in_grid]]) {
  SSM_ABSENT(has_tokens, device uint * tokens);
  if (i >= p.batch) return;
  const uint slot = asked[i];
  const bool is_live = slot < p.slots && remaining[slot] > 0;
  rows[i] = is_live ? slot : uint(kNoSlot);
  positions[i] = is_live ? position[slot] : 0;
  if (has_tokens) tokens[i] = is_live ? token[slot] : 0;
  if (is_live) position[slot] += p.count;
}
