// out[r, c] = scale * q[r, c] + bias (affine.h)
//
// Grid: y a row, x one word (4 or 8 columns) a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/affine.h"
#include "metal/affine_dequantize.h"

template <class Scale, class Out>
[[kernel]] void affine_dequantize(
    device const uint* words [[buffer(0)]],    // (rows, cols * bits / 32)
    device const Scale* scales [[buffer(1)]],  // (rows, cols / group_size)
    device const Scale* biases [[buffer(2)]],  // (rows, cols / group_size)
    device Out* out [[buffer(3)]],             // (rows, cols)
    constant AffineDequantizeParams& p [[buffer(4)]], uint2 at [[thread_position_in_grid]]) {
  const ulong row = at.y;
  const uint index = at.x;
  const AffineShape shape = affine_shape(p.bits, p.group_size);
  const uint row_words = p.cols >> shape.word_shift, row_groups = p.cols >> shape.group_shift;
  if (index >= row_words) return;
  dequantize_word(words[row * row_words + index], index, p.bits, shape, scales + row * row_groups,
                  biases + row * row_groups, 1.0f, out + row * p.cols);
}

// The types of the scales, then of out.
INSTANTIATE(affine_dequantize, (float32, float16, bfloat16), (float32, float16, bfloat16));
