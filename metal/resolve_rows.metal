// position[b] += count: the tokens that this list has consumed
//
// Grid: one thread a sequence.
#include <metal_stdlib>

#include "advance_position.h"

[[kernel]] void advance_position(device uint* position [[buffer(0)]],  // (batch)
                                 constant AdvancePositionParams& p [[buffer(1)]],
                                 uint b [[thread_position_in_grid]]) {
  if (b < p.batch) position[b] += p.count;
}
