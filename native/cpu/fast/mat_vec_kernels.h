// Rows of a weight times rows of x: the products of a decode step, at the speed of memory. A few
// weight rows at a time, so that each vector of x that is loaded is used for all of them. What a
// row of x gives is computed in one order, whatever rows stand beside it.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

struct Float32Weights {
  static constexpr size_t kBytes = 4;
  static SSM_INLINE Floats load_floats(const uint8_t* from) { return load<Floats>(from); }
};
struct Float16Weights {
  static constexpr size_t kBytes = 2;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    return from_float16(load<Halves>(from));
  }
};
struct BFloat16Weights {
  static constexpr size_t kBytes = 2;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    return from_bfloat16(load<Halves>(from));
  }
};

// The first n floats of a vector, the rest zero; n < kWidth.
template <class Weights>
SSM_INLINE Floats load_part(const uint8_t* from, size_t n) {
  uint8_t padded[kWidth * Weights::kBytes] = {};
  __builtin_memcpy(padded, from, n * Weights::kBytes);
  return Weights::load_floats(padded);
}

// sums[r * sums_stride + n] = sum over k of x[r, k] * w[n, k] for kRows rows of w (row_bytes apart)
// and kInputs rows of x. Two partial sums a vector lane.
template <class Weights, size_t kRows, size_t kInputs>
SSM_INLINE void plain_block(const uint8_t* w, size_t row_bytes, size_t cols, const float* x,
                            size_t x_stride, float* sums, size_t sums_stride) {
  constexpr size_t kStep = 2 * kWidth;
  Floats partial[2][kInputs][kRows] = {};
  size_t k = 0;
  const auto add = [&](size_t part, auto load_weight, auto load_x) __attribute__((always_inline)) {
    Floats xs[kInputs];
    for (size_t r = 0; r < kInputs; ++r) xs[r] = load_x(x + r * x_stride);
    for (size_t n = 0; n < kRows; ++n) {
      const Floats weight = load_weight(w + n * row_bytes);
      for (size_t r = 0; r < kInputs; ++r) partial[part][r][n] += xs[r] * weight;
    }
  };
  // The rows that come next: a row is too short for the machine to notice that it is read in order.
  const auto prefetch = [&](size_t at) __attribute__((always_inline)) {
    for (size_t n = 0; n < kRows; ++n) {
      __builtin_prefetch(w + (kRows + n) * row_bytes + at * Weights::kBytes);
    }
  };
  const auto add_whole = [&](size_t part, size_t at) __attribute__((always_inline)) {
    add(
        part, [=](const uint8_t* row) { return Weights::load_floats(row + at * Weights::kBytes); },
        [=](const float* row) { return load(row + at); });
  };
  for (; k + kStep <= cols; k += kStep) {
    prefetch(k);
    add_whole(0, k);
    add_whole(1, k + kWidth);
  }
  for (; k + kWidth <= cols; k += kWidth) add_whole(0, k);
  if (const size_t rest = cols - k; rest > 0) {
    add(
        0, [=](const uint8_t* row) { return load_part<Weights>(row + k * Weights::kBytes, rest); },
        [=](const float* row) {
          return load_part<Float32Weights>(reinterpret_cast<const uint8_t*>(row + k), rest);
        });
  }
  for (size_t r = 0; r < kInputs; ++r) {
    for (size_t n = 0; n < kRows; ++n) {
      sums[r * sums_stride + n] = sum(partial[0][r][n] + partial[1][r][n]);
    }
  }
}

// All rows of x for kRows rows of w.
template <class Weights, size_t kRows>
void plain_rows(const uint8_t* w, size_t row_bytes, size_t cols, const float* x, size_t x_stride,
                size_t x_rows, float* sums, size_t sums_stride) {
  size_t r = 0;
  for (; r + 2 <= x_rows; r += 2) {
    plain_block<Weights, kRows, 2>(w, row_bytes, cols, x + r * x_stride, x_stride,
                                   sums + r * sums_stride, sums_stride);
  }
  if (r < x_rows) {
    plain_block<Weights, kRows, 1>(w, row_bytes, cols, x + r * x_stride, x_stride,
                                   sums + r * sums_stride, sums_stride);
  }
}

template <class Weights>
void plain_matrix(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows, float* sums) {
  constexpr size_t kRows = 4;
  const size_t row_bytes = w.cols * Weights::kBytes;
  const uint8_t* row = static_cast<const uint8_t*>(w.weights) + w.first * row_bytes;
  size_t n = 0;
  for (; n + kRows <= w.count; n += kRows, row += kRows * row_bytes) {
    plain_rows<Weights, kRows>(row, row_bytes, w.cols, x, x_stride, x_rows, sums + n, w.count);
  }
  for (; n < w.count; ++n, row += row_bytes) {
    plain_rows<Weights, 1>(row, row_bytes, w.cols, x, x_stride, x_rows, sums + n, w.count);
  }
}

// sums (x_rows, w.count) = x (x_rows, cols) · wᵀ
static void mat_vec(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows,
                    float* sums) {
  switch (w.type) {
    case kFloat16:
      return plain_matrix<Float16Weights>(w, x, x_stride, x_rows, sums);
    case kBFloat16:
      return plain_matrix<BFloat16Weights>(w, x, x_stride, x_rows, sums);
    default:
      return plain_matrix<Float32Weights>(w, x, x_stride, x_rows, sums);
  }
}

// Quantised weights. A vector of words holds kWidth * 32 / bits columns, a block. Value j of each
// word is taken out by a mask alone and is q * 2^(bits * j) then, which is exact in float32; x
// carries the factor 2^-(bits * j), which is exact too. So nothing is shifted or shuffled in the
// loop, but x must be packed, once for all rows of the weight:
//   (blocks, values of a word, kWidth)   x[column of value j of word lane] * 2^-(bits * j)
//   (groups, and zeros to whole vectors) sum of x over the columns of a group, for the bias
// The sum of a row is then: sum over groups of scale * (sum over blocks and j of packed * masked)
// + bias * sum of x. The last value of a word is shifted down instead: its mask would reach the
// sign bit.

template <size_t kBits>
struct Block {
  static constexpr size_t kValues = 32 / kBits;  // in a word
  static constexpr size_t kCols = kWidth * kValues;
};

// Floats before the sums.
static size_t affine_packed_values(size_t cols, size_t bits) {
  const size_t block = kWidth * 32 / bits;
  return (cols + block - 1) / block * block;
}

static size_t affine_packed_size(size_t cols, size_t bits, size_t group_size) {
  const size_t vectors = (cols / group_size + kWidth - 1) / kWidth;
  return affine_packed_values(cols, bits) + vectors * kWidth;
}

// x (cols) to packed (affine_packed_size); columns that fill the last block count as zeros.
static void affine_pack(const float* x, size_t cols, size_t bits, size_t group_size,
                        float* packed) {
  const size_t values = 32 / bits;
  const float factor = 1.0f / static_cast<float>(1u << bits);
  float* sums = packed + affine_packed_values(cols, bits);
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
  // Group sizes are multiples of every width.
  for (size_t first = 0; first < cols; first += group_size) {
    Floats v = {};
    for (size_t i = 0; i < group_size; i += kWidth) v += load(x + first + i);
    *sums++ = sum(v);
  }
  for (size_t group = cols / group_size; group % kWidth != 0; ++group) *sums++ = 0.0f;
}

// Groups whose scales are turned into float32 at once: 32 or more columns each.
inline constexpr size_t kScaleChunk = 32;

// count numbers of a DataType from element `first` on.
SSM_INLINE void load_scales(const void* from, uint32_t type, size_t first, size_t count,
                            float* to) {
  const size_t bytes = type == kFloat32 ? 4 : 2;
  const uint8_t* at = static_cast<const uint8_t*>(from) + first * bytes;
  const auto convert = [&](auto weights) __attribute__((always_inline)) {
    using Weights = decltype(weights);
    const auto whole = [&](size_t i) __attribute__((always_inline)) {
      store(to + i, Weights::load_floats(at + i * Weights::kBytes));
    };
    if (count < kWidth) return store(to, load_part<Weights>(at, count));
    for (size_t i = 0; i + kWidth <= count; i += kWidth) whole(i);
    whole(count - kWidth);  // what is left, and some of it once more: a copy of a few bytes is slow
  };
  if (type == kFloat16) return convert(Float16Weights{});
  if (type == kBFloat16) return convert(BFloat16Weights{});
  return convert(Float32Weights{});
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

// Scales and biases of kRows rows for the groups of a chunk, one row after the other.
template <size_t kRows>
struct GroupNumbers {
  alignas(64) float scales[kRows * kScaleChunk];
  alignas(64) float biases[kRows * kScaleChunk + kWidth];  // read as whole vectors
};

// Those of groups `chunk` to `chunk + count`, of `groups` of a row, for rows from `first` on.
template <size_t kRows>
SSM_INLINE void load_numbers(GroupNumbers<kRows>& to, const AffineRows& w, size_t first,
                             size_t groups, size_t chunk, size_t count) {
  // Where a chunk is a whole row, those of all rows lie one after the other.
  const size_t runs = count == groups ? 1 : kRows;
  for (size_t n = 0; n < runs; ++n) {
    const size_t at = (first + n) * groups + chunk, length = kRows / runs * count;
    load_scales(w.scales, w.scale_type, at, length, to.scales + n * count);
    load_scales(w.biases, w.scale_type, at, length, to.biases + n * count);
  }
}

// Adds the biases of `count` groups times the sums of x over them.
template <size_t kRows, size_t kInputs>
SSM_INLINE void add_biases(Floats (&total)[kInputs][kRows], const float* biases,
                           const float* x_sums, size_t packed_stride, size_t count) {
  for (size_t g = 0; g < count; g += kWidth) {
    for (size_t n = 0; n < kRows; ++n) {
      const Floats bias = first_lanes(load(biases + n * count + g), count - g);
      for (size_t r = 0; r < kInputs; ++r) {
        total[r][n] += bias * load(x_sums + r * packed_stride + g);
      }
    }
  }
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
SSM_INLINE void affine_block(const AffineRows& w, size_t first, const float* packed,
                             size_t packed_stride, float* sums) {
  using Block = SSM_LEVEL::Block<kBits>;
  // Either several blocks have one scale, or a block has several.
  constexpr size_t kBlocks = kGroupSize > Block::kCols ? kGroupSize / Block::kCols : 1;
  constexpr size_t kGroups = Block::kCols > kGroupSize ? Block::kCols / kGroupSize : 1;
  constexpr size_t kLineWords = 16;  // of a cache line
  const size_t groups = w.cols / kGroupSize;
  const size_t row_words = w.cols / Block::kValues;
  const float* x = packed;
  const float* x_sums = packed + affine_packed_values(w.cols, kBits);
  const uint32_t* words[kRows];
  for (size_t n = 0; n < kRows; ++n) words[n] = w.words + (first + n) * row_words;
  GroupNumbers<kRows> numbers;
  Floats total[kInputs][kRows] = {};
  size_t left = row_words;  // of a row
  for (size_t chunk = 0; chunk < groups; chunk += kScaleChunk, x_sums += kScaleChunk) {
    const size_t count = groups - chunk < kScaleChunk ? groups - chunk : kScaleChunk;
    load_numbers(numbers, w, first, groups, chunk, count);
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
void affine_rows(const AffineRows& w, size_t first, const float* packed, size_t packed_stride,
                 size_t x_rows, float* sums) {
  size_t r = 0;
  for (; r + 2 <= x_rows; r += 2) {
    affine_block<kBits, kGroupSize, kRows, 2>(w, first, packed + r * packed_stride, packed_stride,
                                              sums + r * w.count);
  }
  if (r < x_rows) {
    affine_block<kBits, kGroupSize, kRows, 1>(w, first, packed + r * packed_stride, packed_stride,
                                              sums + r * w.count);
  }
}

template <size_t kBits, size_t kGroupSize>
void affine_matrix(const AffineRows& w, const float* packed, size_t packed_stride, size_t x_rows,
                   float* sums) {
  constexpr size_t kRows = 4;
  size_t n = 0;
  for (; n + kRows <= w.count; n += kRows) {
    affine_rows<kBits, kGroupSize, kRows>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
  for (; n < w.count; ++n) {
    affine_rows<kBits, kGroupSize, 1>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
}

template <size_t kBits>
void affine_matrix_of(const AffineRows& w, const float* packed, size_t packed_stride, size_t x_rows,
                      float* sums) {
  switch (w.group_size) {
    case 32:
      return affine_matrix<kBits, 32>(w, packed, packed_stride, x_rows, sums);
    case 64:
      return affine_matrix<kBits, 64>(w, packed, packed_stride, x_rows, sums);
    default:
      return affine_matrix<kBits, 128>(w, packed, packed_stride, x_rows, sums);
  }
}

// sums (x_rows, w.count) = x · wᵀ, with rows of x as affine_pack leaves them.
static void affine_mat_vec(const AffineRows& w, const float* packed, size_t packed_stride,
                           size_t x_rows, float* sums) {
  if (w.bits == 4) return affine_matrix_of<4>(w, packed, packed_stride, x_rows, sums);
  return affine_matrix_of<8>(w, packed, packed_stride, x_rows, sums);
}

}  // namespace ssm::cpu::SSM_LEVEL
