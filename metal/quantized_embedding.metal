// out[r, c] = p.scale * (scale * q[tokens[r], c] + bias) (quantized.h)
//
// Grid: y a row of out, x eight columns a thread; threadgroups of up to 256 threads.
//
// Limits: a token id outside the vocabulary reads the last row of the table, so that no memory
// outside it is read: the host checks the ids before they get here.
#include <metal_stdlib>

#include "metal/quantized.h"
#include "metal/quantized_embedding.h"

template <class Scale>
[[kernel]] void quantized_embedding(
    device const uint* tokens [[buffer(0)]],                 // (rows)
    device const uint* words [[buffer(1)]],                  // (vocabulary, cols * bits / 32)
    device const Scale* scales [[buffer(2)]],                // (vocabulary, cols / group_size)
    SSM_OPTIONAL(has_biases, 3, device const Scale* biases)  // (vocabulary, cols / group_size)
    device float* out [[buffer(4)]],                         // (rows, cols)
    constant QuantizedEmbeddingParams& p [[buffer(5)]], uint2 at [[thread_position_in_grid]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
  const uint row = at.y, col = 8 * at.x;
  if (col >= p.cols) return;
  const ulong token = min(tokens[row], p.vocabulary - 1);
  const ulong group = token * (p.cols >> ctz(p.group_size));
  dequantize_eight(words + token * row_words(p.cols), scales + group, biases + group, col,
                   p.group_size, p.scale, out + ulong(row) * p.cols);
}

// The types of the scales.
INSTANTIATE(quantized_embedding, (float32, float16, bfloat16, uint8));
