// out[r, c] = scale * table[tokens[r], c]
//
// Grid: y a row of out, x four columns a thread; threadgroups of up to 256 threads.
//
// Limits: a token id outside the vocabulary reads the last row of the table, so that no memory
// outside it is read: the host checks the ids before they get here.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/embedding.h"

template <class Table>
[[kernel]] void embedding(device const uint* tokens [[buffer(0)]],  // (rows)
                          device const Table* table [[buffer(1)]],  // (vocabulary, cols)
                          device float* out [[buffer(2)]],          // (rows, cols)
                          constant EmbeddingParams& p [[buffer(3)]],
                          uint2 at [[thread_position_in_grid]]) {
  const uint row = at.y, col = 4 * at.x;
  if (col >= p.cols) return;
  const uint token = min(tokens[row], p.vocabulary - 1);
  const float4 values = p.scale * load_some(table + ulong(token) * p.cols + col, p.cols - col);
  store_some(out + ulong(row) * p.cols + col, values, p.cols - col);
}

// The types of the table.
INSTANTIATE(embedding, (float32, float16, bfloat16));
