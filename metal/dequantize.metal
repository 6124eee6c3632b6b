// out[r, c] = scale * q[r, c] + bias (quantized.h)
//
// Grid: y a row, x eight columns a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/dequantize.h"
#include "metal/quantized.h"

template <class Scale, class Out>
[[kernel]] void dequantize(device const uint* words [[buffer(0)]],    // (rows, cols * bits / 32)
                           device const Scale* scales [[buffer(1)]],  // (rows, cols / group_size)
                           SSM_OPTIONAL(has_biases, 2,
                                        device const Scale* biases)  // (rows, cols / group_size)
                           device Out* out [[buffer(3)]],            // (rows, cols)
                           constant DequantizeParams& p [[buffer(4)]],
                           uint2 at [[thread_position_in_grid]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
  const ulong row = at.y;
  const uint col = 8 * at.x;
  if (col >= p.cols) return;
  const ulong group = row * (p.cols >> ctz(p.group_size));
  dequantize_eight(words + row * row_words(p.cols), scales + group, biases + group, col,
                   p.group_size, 1.0f, out + row * p.cols);
}

// The types of the scales, then of out.
INSTANTIATE(dequantize, (float32, float16, bfloat16, uint8), (float32, float16, bfloat16));
