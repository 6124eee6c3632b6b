// out[r, c] = p.scale * (scale * q[tokens[r], c] + bias) (affine.h)
//
// Grid: y a row of out, x one word (4 or 8 columns) a thread; threadgroups of up to 256 threads.
//
// Limits: a token id outside the vocabulary reads the last row of the table, so that no memory
// outside it is read: the host checks the ids before they get here.
#include <metal_stdlib>

#include "metal/affine.h"
#include "metal/affine_embedding.h"

template <class Scale>
[[kernel]] void affine_embedding(
    device const uint* tokens [[buffer(0)]],   // (rows)
    device const uint* words [[buffer(1)]],    // (vocabulary, cols * bits / 32)
    device const Scale* scales [[buffer(2)]],  // (vocabulary, cols / group_size)
    device const Scale* biases [[buffer(3)]],  // (vocabulary, cols / group_size)
    device float* out [[buffer(4)]],           // (rows, cols)
    constant AffineEmbeddingParams& p [[buffer(5)]], uint2 at [[thread_position_in_grid]]) {
  const uint row = at.y, index = at.x;
  const AffineShape shape = affine_shape(p.bits, p.group_size);
  const uint row_words = p.cols >> shape.word_shift, row_groups = p.cols >> shape.group_shift;
  if (index >= row_words) return;
  const ulong token = min(tokens[row], p.vocabulary - 1);
  dequantize_word(words[token * row_words + index], index, p.bits, shape,
                  scales + token * row_groups, biases + token * row_groups, p.scale,
                  out + ulong(row) * p.cols);
}

// The types of the scales.
INSTANTIATE(affine_embedding, (float32, float16, bfloat16));
