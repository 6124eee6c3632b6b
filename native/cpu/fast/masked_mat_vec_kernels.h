// Rows of a quantised weight times rows of x, as mat_vec_kernels.h, where values are whole numbers
// of 4 or 8 bits.
//
// A vector of words holds kWidth * 32 / bits columns, a block. Value j of each word is taken out by
// a mask alone and is q * 2^(bits * j) then, which is exact in float32; x carries the factor
// 2^-(bits * j), which is exact too. So nothing is shifted or shuffled in the
// loop, but x must be packed, once for all rows of the weight:
//   (blocks, values of a word, kWidth)   x[column of value j of word lane] * 2^-(bits * j)
//   (groups, and zeros to whole vectors) sum of x over the columns of a group, for the bias
// The sum of a row is then: sum over groups of scale * (sum over blocks and j of packed * masked)
// + bias * sum of x. The last value of a word is shifted down instead: its mask would reach the
// sign bit.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/quantized_values.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

template <size_t kBits>
struct Block {
  static constexpr size_t kValues = 32 / kBits;  // in a word
  static constexpr size_t kCols = kWidth * kValues;
};

// Floats before the sums.
SSM_INLINE size_t masked_values(size_t cols, size_t bits) {
  const size_t block = kWidth * 32 / bits;
  return (cols + block - 1) / block * block;
}

// The values of x (cols) to packed; columns that fill the last block count as zeros.
static void pack_masked(const float* x, size_t cols, size_t bits, float* packed) {
  const size_t values = 32 / bits;
  const float factor = 1.0f / static_cast<float>(1u << bits);
  for (size_t first = 0; first < cols; first += kWidth * values) {
    float scale = 1.0f;
    for (size_t j = 0; j < values; ++j, scale *= factor, packed += kWidth) {
      Floats v = {};
      for (size_t lane = 0; lane < kWidth; ++lane) {
        const size_t col = first + lane * values + j;
        v[lane] = col < cols ? x[col] : 0.0f;
      }
      store(packed, v * splat(j + 1 < values ? scale : 1.0f));
    }
  }
}

// One number for each lane, where kGroups groups share a vector in equal parts; of the last `left`
// groups of a row the last stands for those that are missing.
template <size_t kGroups>
SSM_INLINE Floats spread(const float* numbers, size_t left) {
  Floats v = splat(numbers[0]);
#pragma GCC unroll 8
  for (size_t group = 1; group < kGroups; ++group) {
    Ints is_later;
    for (size_t lane = 0; lane < kWidth; ++lane) {
      is_later[lane] = lane >= group * kWidth / kGroups ? -1 : 0;
    }
    v = select(is_later, splat(numbers[group < left ? group : left - 1]), v);
  }
  return v;
}

template <size_t kBits>
SSM_INLINE Floats value(Words words, size_t j) {
  constexpr size_t kLast = Block<kBits>::kValues - 1;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  const Words q = j < kLast ? words & (kMask << (kBits * j)) : words >> (kBits * kLast);
  return to_floats(bits_as<Ints>(q));
}

// A block of words of each row; `prefetches`: and the same of the rows that come next, as in
// plain_block.
template <size_t kRows>
SSM_INLINE void load_block(Words (&q)[kRows], const uint32_t* const (&words)[kRows],
                           size_t row_words, bool prefetches) {
  for (size_t n = 0; n < kRows; ++n) {
    q[n] = load<Words>(words[n]);
    if (prefetches) __builtin_prefetch(words[n] + kRows * row_words);
  }
}

// The last block of a row whose groups do not fill it: `left` words and zeros.
template <size_t kRows>
SSM_INLINE void load_last_block(Words (&q)[kRows], const uint32_t* const (&words)[kRows],
                                size_t left) {
  for (size_t n = 0; n < kRows; ++n) {
    uint32_t part[kWidth] = {};
    __builtin_memcpy(part, words[n], left * sizeof(uint32_t));
    q[n] = load<Words>(part);
  }
}

// Adds the products of a block of words with packed x, without the scales.
template <size_t kBits, size_t kRows, size_t kInputs>
SSM_INLINE void add_block(Floats (&products)[kInputs][kRows], const Words (&q)[kRows],
                          const float* x, size_t packed_stride) {
#pragma GCC unroll 8
  for (size_t j = 0; j < Block<kBits>::kValues; ++j, x += kWidth) {
    Floats xs[kInputs];
    for (size_t r = 0; r < kInputs; ++r) xs[r] = load(x + r * packed_stride);
    for (size_t n = 0; n < kRows; ++n) {
      const Floats v = value<kBits>(q[n], j);
      for (size_t r = 0; r < kInputs; ++r) products[r][n] += xs[r] * v;
    }
  }
}

// kRows rows of the weight from row `first` on, times kInputs packed rows of x.
template <size_t kBits, size_t kGroupSize, size_t kRows, size_t kInputs>
SSM_INLINE void masked_block(const QuantizedRows& w, size_t first, const float* packed,
                             size_t packed_stride, float* sums) {
  using Block = SSM_LEVEL::Block<kBits>;
  // Either several blocks have one scale, or a block has several.
  constexpr size_t kBlocks = kGroupSize > Block::kCols ? kGroupSize / Block::kCols : 1;
  constexpr size_t kGroups = Block::kCols > kGroupSize ? Block::kCols / kGroupSize : 1;
  constexpr size_t kLineWords = 16;  // of a cache line
  const size_t groups = w.cols / kGroupSize;
  const size_t row_words = w.cols / Block::kValues;
  const float* x = packed;
  const float* x_sums = packed + masked_values(w.cols, kBits);
  const uint32_t* words[kRows];
  for (size_t n = 0; n < kRows; ++n) words[n] = w.words + (first + n) * row_words;
  GroupNumbers<kRows> numbers;
  Floats total[kInputs][kRows] = {};
  size_t left = row_words;  // of a row
  for (size_t chunk = 0; chunk < groups; chunk += kScaleChunk, x_sums += kScaleChunk) {
    const size_t count = groups - chunk < kScaleChunk ? groups - chunk : kScaleChunk;
    if constexpr (kRows > 1) {
      load_numbers(numbers, w, first, groups, chunk, count);
    } else {
      call_load_numbers(numbers, w, first, groups, chunk, count);
    }
    add_biases(total, numbers.biases, x_sums, packed_stride, count);
    for (size_t g = 0; g < count; g += kGroups) {
      Floats products[kInputs][kRows] = {};
#pragma GCC unroll 8
      for (size_t block = 0; block < kBlocks; ++block, x += Block::kValues * kWidth) {
        Words q[kRows];
        if (kGroups == 1 || left >= kWidth) {
          load_block(q, words, row_words, block * kWidth % kLineWords == 0);
        } else {
          load_last_block(q, words, left);
        }
        if (kGroups > 1) left -= left < kWidth ? left : kWidth;
        for (size_t n = 0; n < kRows; ++n) words[n] += kWidth;
        add_block<kBits>(products, q, x, packed_stride);
      }
      for (size_t n = 0; n < kRows; ++n) {
        const Floats scale = spread<kGroups>(numbers.scales + n * count + g, count - g);
        for (size_t r = 0; r < kInputs; ++r) total[r][n] += products[r][n] * scale;
      }
    }
  }
  for (size_t r = 0; r < kInputs; ++r) {
    for (size_t n = 0; n < kRows; ++n) sums[r * w.count + n] = sum(total[r][n]);
  }
}

template <size_t kBits, size_t kGroupSize, size_t kRows>
void masked_rows(const QuantizedRows& w, size_t first, const float* packed, size_t packed_stride,
                 size_t x_rows, float* sums) {
  size_t r = 0;
  for (; r + 2 <= x_rows; r += 2) {
    masked_block<kBits, kGroupSize, kRows, 2>(w, first, packed + r * packed_stride, packed_stride,
                                              sums + r * w.count);
  }
  if (r < x_rows) {
    masked_block<kBits, kGroupSize, kRows, 1>(w, first, packed + r * packed_stride, packed_stride,
                                              sums + r * w.count);
  }
}

template <size_t kBits, size_t kGroupSize>
void masked_matrix(const QuantizedRows& w, const float* packed, size_t packed_stride, size_t x_rows,
                   float* sums) {
  constexpr size_t kRows = 4;
  size_t n = 0;
  for (; n + kRows <= w.count; n += kRows) {
    masked_rows<kBits, kGroupSize, kRows>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
  for (; n < w.count; ++n) {
    masked_rows<kBits, kGroupSize, 1>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
}

template <size_t kBits>
void masked_matrix_of(const QuantizedRows& w, const float* packed, size_t packed_stride,
                      size_t x_rows, float* sums) {
  switch (w.group_size) {
    case 32:
      return masked_matrix<kBits, 32>(w, packed, packed_stride, x_rows, sums);
    case 64:
      return masked_matrix<kBits, 64>(w, packed, packed_stride, x_rows, sums);
    default:
      return masked_matrix<kBits, 128>(w, packed, packed_stride, x_rows, sums);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
