// kept[rows[b]] = logits[b]: what a slot draws from in a later list
//
// Grid: four elements a thread, in threadgroups of up to 256 threads, for each row. A row that has
// no slot does nothing. Limits: no slot twice.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/keep_logits.h"

template <class T>
[[kernel]] void keep_logits(device const T* logits [[buffer(0)]],   // (batch, vocabulary)
                            device const uint* rows [[buffer(1)]],  // (batch): slots
                            device T* kept [[buffer(2)]],           // (slots, vocabulary)
                            constant KeepLogitsParams& p [[buffer(3)]],
                            uint2 at [[thread_position_in_grid]]) {
  const uint slot = rows[at.y];
  if (slot >= p.slots) return;
  device const T* row = logits + ulong(at.y) * p.vocabulary;
  device T* copy = kept + ulong(slot) * p.vocabulary;
  for (uint v = 4 * at.x; v < min(4 * at.x + 4, p.vocabulary); ++v) copy[v] = row[v];
}

INSTANTIATE(keep_logits, (float32));
