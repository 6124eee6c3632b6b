// Many rows of x times a weight, in blocks that stay in cache: what prefill does. The weight is
// turned into float32 while it is packed, so the format that it is stored in costs only that.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/mat_vec_kernels.h"
#include "native/cpu/fast/quantized_mat_vec_kernels.h"
#include "native/cpu/fast/quantized_values.h"
#include "native/cpu/fast/tile_kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// Rows of x (rows, depth; x_stride apart), at most kTileRows of them, as the `a` of a tile; missing
// rows count as zeros.
static void pack_rows(const float* x, size_t x_stride, size_t rows, size_t depth, float* packed) {
  for (size_t first = 0; first < kTileRows; first += kWidth) {
    const size_t lanes = kTileRows - first < kWidth ? kTileRows - first : kWidth;
    for (size_t k = 0; k < depth; k += kWidth) {
      const size_t count = depth - k < kWidth ? depth - k : kWidth;
      Floats v[kWidth];
#pragma GCC unroll 16
      for (size_t n = 0; n < kWidth; ++n) {
        const float* row = x + (first + n) * x_stride + k;
        v[n] = first + n >= rows ? Floats{} : count == kWidth ? load(row) : load_first(row, count);
      }
      transpose(v);
      // A whole vector may reach into the next k, which is written after it.
      float* to = packed + k * kTileRows + first;
      for (size_t i = 0; i < count; ++i, to += kTileRows) {
        if (k + i + 1 < depth) {
          store(to, v[i]);
        } else {
          store_first(to, v[i], lanes);
        }
      }
    }
  }
}

// A panel's vector of columns comes from kWidth rows of the weight: which one a lane reads. Lanes
// past the last row read that one again, and nobody reads their sums.
SSM_INLINE size_t row_of_lane(size_t vector, size_t lane, size_t count) {
  const size_t row = vector * kWidth + lane;
  return row < count ? row : count - 1;
}

template <class Weights>
void pack_plain_panel(const uint8_t* w, size_t row_bytes, size_t count, size_t depth,
                      float* packed) {
  for (size_t j = 0; j < kTileVectors; ++j) {
    const uint8_t* row[kWidth];
    for (size_t n = 0; n < kWidth; ++n) row[n] = w + row_of_lane(j, n, count) * row_bytes;
    float* to = packed + j * kWidth;
    Floats v[kWidth];
    size_t k = 0;
    for (; k + kWidth <= depth; k += kWidth) {
#pragma GCC unroll 16
      for (size_t n = 0; n < kWidth; ++n) {
        const uint8_t* from = row[n] + k * Weights::kBytes;
        v[n] = Weights::load_floats(from);
      }
      transpose(v);
#pragma GCC unroll 16
      for (size_t i = 0; i < kWidth; ++i) store(to + (k + i) * kTileCols, v[i]);
    }
    if (k == depth) continue;
    for (size_t n = 0; n < kWidth; ++n) {
      v[n] = load_part<Weights>(row[n] + k * Weights::kBytes, depth - k);
    }
    transpose(v);
    for (size_t i = 0; k + i < depth; ++i) store(to + (k + i) * kTileCols, v[i]);
  }
}

template <class Weights>
void pack_plain_panels(const PlainRows& w, size_t first_col, size_t depth, float* packed) {
  const size_t row_bytes = w.cols * Weights::kBytes;
  const uint8_t* at = static_cast<const uint8_t*>(w.weights) + first_col * Weights::kBytes;
  for (size_t n = 0; n < w.count; n += kTileCols, packed += depth * kTileCols) {
    const size_t count = w.count - n < kTileCols ? w.count - n : kTileCols;
    pack_plain_panel<Weights>(at + (w.first + n) * row_bytes, row_bytes, count, depth, packed);
  }
}

// Columns first_col to first_col + depth of the rows of a weight as panels (depth, kTileCols).
static void pack_plain(const PlainRows& w, size_t first_col, size_t depth, float* packed) {
  switch (w.type) {
    case kFloat16:
      return pack_plain_panels<Float16Weights>(w, first_col, depth, packed);
    case kBFloat16:
      return pack_plain_panels<BFloat16Weights>(w, first_col, depth, packed);
    default:
      return pack_plain_panels<Float32Weights>(w, first_col, depth, packed);
  }
}

// The scales or biases of kWidth rows in one group, a lane a row.
template <class Numbers>
SSM_INLINE Floats group_numbers(const void* numbers, const size_t (&row)[kWidth], size_t groups,
                                size_t group) {
  uint8_t gathered[kWidth * Numbers::kBytes];
  const uint8_t* from = static_cast<const uint8_t*>(numbers);
  for (size_t n = 0; n < kWidth; ++n) {
    __builtin_memcpy(gathered + n * Numbers::kBytes,
                     from + (row[n] * groups + group) * Numbers::kBytes, Numbers::kBytes);
  }
  return Numbers::load_floats(gathered);
}

// `count` words of each of kWidth rows, and zeros.
SSM_INLINE void load_row_words(Words (&v)[kWidth], const uint32_t* words,
                               const size_t (&row)[kWidth], size_t row_words, size_t count) {
  if (count == kWidth) {
#pragma GCC unroll 16
    for (size_t n = 0; n < kWidth; ++n) {
      const uint32_t* from = words + row[n] * row_words;
      v[n] = load<Words>(from);
    }
  } else {
    for (size_t n = 0; n < kWidth; ++n) {
      v[n] = Words{};
      __builtin_memcpy(&v[n], words + row[n] * row_words, count * sizeof(uint32_t));
    }
  }
}

// Words are transposed instead of numbers: a vector then holds a word of each row, whose values are
// taken out one by one, the scales of the rows beside them.
template <size_t kBits, class Numbers>
void pack_masked_panel(const QuantizedRows& w, size_t first_row, size_t count, size_t first_col,
                       size_t depth, float* packed) {
  constexpr size_t kValues = 32 / kBits;  // in a word
  constexpr uint32_t kMask = (1u << kBits) - 1;
  const size_t row_words = w.cols / kValues, groups = w.cols / w.group_size;
  const size_t group_words = w.group_size / kValues;
  const size_t end = (first_col + depth) / kValues;
  for (size_t j = 0; j < kTileVectors; ++j) {
    size_t row[kWidth];
    for (size_t n = 0; n < kWidth; ++n) row[n] = first_row + row_of_lane(j, n, count);
    float* to = packed + j * kWidth;
    size_t scaled_group = groups;  // none
    Floats scale = {}, bias = {};
    for (size_t word = first_col / kValues; word < end; word += kWidth) {
      const size_t words = end - word < kWidth ? end - word : kWidth;
      Words v[kWidth];
      load_row_words(v, w.words + word, row, row_words, words);
      transpose(v);
      for (size_t i = 0; i < words; ++i) {
        if (const size_t group = (word + i) / group_words; group != scaled_group) {
          scaled_group = group;
          scale = group_numbers<Numbers>(w.scales, row, groups, group);
          bias = group_numbers<Numbers>(w.biases, row, groups, group);
        }
#pragma GCC unroll 8
        for (size_t value = 0; value < kValues; ++value, to += kTileCols) {
          const Words q = (v[i] >> static_cast<uint32_t>(kBits * value)) & kMask;
          store(to, to_floats(bits_as<Ints>(q)) * scale + bias);
        }
      }
    }
  }
}

// Values of other formats are transposed as numbers.
template <class Values, class Numbers>
void pack_ordered_panel(const QuantizedRows& w, size_t first_row, size_t count, size_t first_col,
                        size_t depth, float* packed) {
  const size_t row_bytes = size_t{w.cols} / 8 * Values::kBits, groups = w.cols / w.group_size;
  const auto* rows = reinterpret_cast<const uint8_t*>(w.words);
  for (size_t j = 0; j < kTileVectors; ++j) {
    size_t row[kWidth];
    for (size_t n = 0; n < kWidth; ++n) row[n] = first_row + row_of_lane(j, n, count);
    float* to = packed + j * kWidth;
    for (size_t col = first_col; col < first_col + depth; col += kWidth) {
      const size_t group = col / w.group_size;
      const Floats scale = group_numbers<Numbers>(w.scales, row, groups, group);
      const Floats bias =
          w.biases == nullptr ? Floats{} : group_numbers<Numbers>(w.biases, row, groups, group);
      Floats v[kWidth];
#pragma GCC unroll 16
      for (size_t n = 0; n < kWidth; ++n) {
        v[n] = load_values<Values>(rows + row[n] * row_bytes, col);
      }
      transpose(v);
      for (size_t i = 0; i < kWidth; ++i, to += kTileCols) store(to, v[i] * scale + bias);
    }
  }
}

template <class Numbers>
void pack_quantized_panel(const QuantizedRows& w, size_t first_row, size_t count, size_t first_col,
                          size_t depth, float* packed) {
  if (w.mode != kAffine) {
    return pack_ordered_panel<SmallFloats, Numbers>(w, first_row, count, first_col, depth, packed);
  }
  switch (w.bits) {
    case 4:
      return pack_masked_panel<4, Numbers>(w, first_row, count, first_col, depth, packed);
    case 5:
      return pack_ordered_panel<WholeNumbers<5>, Numbers>(w, first_row, count, first_col, depth,
                                                          packed);
    case 6:
      return pack_ordered_panel<WholeNumbers<6>, Numbers>(w, first_row, count, first_col, depth,
                                                          packed);
    default:
      return pack_masked_panel<8, Numbers>(w, first_row, count, first_col, depth, packed);
  }
}

// As pack_plain; first_col and depth are multiples of 16, and of 32 where groups are.
static void pack_quantized(const QuantizedRows& w, size_t first_col, size_t depth, float* packed) {
  with_scales(w, [&](auto scales) {
    for (size_t n = 0; n < w.count; n += kTileCols) {
      const size_t count = w.count - n < kTileCols ? w.count - n : kTileCols;
      pack_quantized_panel<decltype(scales)>(w, w.first + n, count, first_col, depth,
                                             packed + n * depth);
    }
  });
}

// Fetches rows into the second-level cache, some lines at a time.
class Fetcher {
 public:
  // In so many steps.
  Fetcher(const UpcomingRows& rows, size_t steps) : rows_(rows) {
    const size_t lines = rows.count * ((rows.bytes + kLine - 1) / kLine);
    step_ = (lines + steps - 1) / steps;
  }
  SSM_INLINE void step() {
    for (size_t i = 0; i < step_ && row_ < rows_.count; ++i) {
      __builtin_prefetch(rows_.first + row_ * rows_.row_bytes + at_, 0, 2);
      at_ += kLine;
      if (at_ >= rows_.bytes) {
        at_ = 0;
        ++row_;
      }
    }
  }

 private:
  static constexpr size_t kLine = 64;
  const UpcomingRows& rows_;
  size_t step_, row_ = 0, at_ = 0;
};

// Between fetches.
inline constexpr size_t kFetchDepth = 32;

// The first kRows rows of a tile of sums = a · b, or += with `add`.
template <size_t kRows>
SSM_INLINE void multiply_rows(const float* a, const float* b, size_t depth, float* sums,
                              size_t sums_stride, bool add, Fetcher& fetcher) {
  for (size_t i = 0; i < kRows; ++i) __builtin_prefetch(sums + i * sums_stride, 1);
  TileOf<kRows> tile;
  clear(tile);
  for (size_t k = 0; k < depth; k += kFetchDepth) {
    fetcher.step();
    add_product(tile, a + k * kTileRows, 1, kTileRows, b + k * kTileCols,
                depth - k < kFetchDepth ? depth - k : kFetchDepth);
  }
  if (add) {
    for_tile<kRows>([&](size_t i, size_t j) __attribute__((always_inline)) {
      tile.sums[i][j] += load(sums + i * sums_stride + j * kWidth);
    });
  }
  for_tile<kRows>([&](size_t i, size_t j) __attribute__((always_inline)) {
    store(sums + i * sums_stride + j * kWidth, tile.sums[i][j]);
  });
}

// `rows` rows of a tile, and perhaps some that nobody reads: a tile that is mostly empty costs less
// than a full one. The order of sums is the same in all.
SSM_INLINE void multiply_tile(const float* a, const float* b, size_t depth, float* sums,
                              size_t sums_stride, size_t rows, bool add, Fetcher& fetcher) {
  // The fewest that keep the multipliers busy: two vectors each of four cycles' latency, two begun
  // in a cycle.
  constexpr size_t kFew = 4, kSome = 8;
  if (rows <= kFew) return multiply_rows<kFew>(a, b, depth, sums, sums_stride, add, fetcher);
  if constexpr (kSome < kTileRows) {
    if (rows <= kSome) return multiply_rows<kSome>(a, b, depth, sums, sums_stride, add, fetcher);
  }
  multiply_rows<kTileRows>(a, b, depth, sums, sums_stride, add, fetcher);
}

// sums (rows, sums_stride) = a · b, or += with `add`: packed tiles with `rows` rows in all, a tile
// a_stride apart, times `panels` panels. There must be room for sums of whole tiles.
static void multiply_tiles(const float* a, size_t a_stride, size_t rows, const float* b,
                           size_t panels, size_t depth, float* sums, size_t sums_stride, bool add,
                           const UpcomingRows& upcoming) {
  // So many tiles of a stay in the second-level cache while the panels pass.
  constexpr size_t kTiles = 96 / kTileRows;
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  Fetcher fetcher(upcoming, tiles * panels * ((depth + kFetchDepth - 1) / kFetchDepth));
  for (size_t first = 0; first < tiles; first += kTiles) {
    const size_t last = tiles - first < kTiles ? tiles : first + kTiles;
    for (size_t panel = 0; panel < panels; ++panel) {
      for (size_t t = first; t < last; ++t) {
        multiply_tile(a + t * a_stride, b + panel * depth * kTileCols, depth,
                      sums + t * kTileRows * sums_stride + panel * kTileCols, sums_stride,
                      rows - t * kTileRows, add, fetcher);
      }
    }
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
