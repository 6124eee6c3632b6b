// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out
//
// The kernel of experts_matmul for chunks (expert_tile.h has the grid); float32 accumulation.
// Weights become the type of a tile while it is loaded.
#include <metal_stdlib>

#include "metal/expert_tile.h"
#include "metal/experts_matmul.h"

template <class In, class Out, class Weight>
[[kernel]] void experts_matmat(device const In* x [[buffer(0)]],         // rows x_stride apart
                               device const Weight* w [[buffer(1)]],     // (…, inputs)
                               device const uint* chosen [[buffer(2)]],  // (rows)
                               device const uint* tiles [[buffer(3)]],   // (…, kExpertTile)
                               SSM_OPTIONAL(gated, 4, device const Out* gate)  // (rows, outputs)
                               device Out* out [[buffer(5)]],                  // (rows, outputs)
                               constant ExpertsMatmulParams& p [[buffer(6)]],
                               threadgroup float* memory [[threadgroup(0)]],  // blocks of x and w
                               uint2 tile [[threadgroup_position_in_grid]],
                               uint thread_index [[thread_index_in_threadgroup]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(gated, device const Out* gate);
  typedef typename TileElement<In, Weight>::Type T;
  device const uint* products = tiles + ulong(tile.y) * kExpertTile;
  if (products[0] >= p.rows) return;
  const uint col = tile.x * kTile;
  const ExpertRow<In> row = expert_row_of(x, products, thread_index, p);
  device const Weight* ws = w + expert_row(chosen[products[0]], col, p) * p.inputs;
  threadgroup T* x_tile = (threadgroup T*)memory;
  threadgroup T* w_tile = x_tile + kTile * tile_stride<T>();
  TileSums<kTile> sums;
  clear(sums);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_part(x_tile, row_of_thread(thread_index), row.x + k, row.inside, p.inputs - k,
              thread_index);
    load_block<T, kTile>(w_tile, ws + k, p.inputs, p.outputs - col, p.inputs - k, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_block(sums, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_products(sums, memory, products, col, gate, out, thread_index, simdgroup, p);
}

// The types of x, out and the weight.
INSTANTIATE(experts_matmat, (float32, float16), (float32, float16), (float32, float16, bfloat16));
