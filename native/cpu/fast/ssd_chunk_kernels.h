// A chunk of the SSD form (native/cpu/operations/ssd_chunk_scan.cpp) as products of tiles. With P
// rows of the head as columns of panels, what that file writes for one t and one row becomes
//   y = diag(exp(a)) C Sᵀ + W x          W[t, s] = exp(a[t] - a[s]) dt[s] (C Bᵀ)[t, s], s <= t
//   Sᵀ = exp(a[last]) Sᵀ + Bᵀ (w x)      w[s] = exp(a[last] - a[s]) dt[s]
// and D stands on the diagonal of W. C Bᵀ is the same for all heads of a group.
#pragma once

#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/mat_mat_kernels.h"
#include "native/cpu/fast/tile_kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// Floats from one row of C Bᵀ or of W to the next: a constant, so that the rows of a tile need one
// register together.
inline constexpr size_t kScoresStride = (kLongestSsdChunk + kTileCols - 1) / kTileCols * kTileCols;

static_assert(kScoresStride <= kSsdPadding && kTileRows <= kSsdPadding);

constexpr size_t tiles_of(size_t rows) { return (rows + kTileRows - 1) / kTileRows; }

static SsdSizes ssd_sizes(size_t length, size_t head_dim, size_t d_state) {
  const size_t rows = tiles_of(length) * kTileRows;
  const size_t panels = (head_dim + kTileCols - 1) / kTileCols;
  const size_t states = tiles_of(d_state) * kTileRows;
  const size_t packed_b = kScoresStride * d_state;
  const size_t head = kSsdPadding + rows * kScoresStride + 2 * panels * length * kTileCols;
  return {
      .c = rows * d_state,
      .b = length * states,
      .scores = rows * kScoresStride,
      .state = panels * states * kTileCols,
      .work = packed_b > head ? packed_b : head,
  };
}

// What the heads of a group share: C packed in tiles, B with rows as long as a multiple of a tile,
// and scores = C Bᵀ below and on its diagonal.
static void ssd_scores(const SsdGroup& g) {
  const size_t states = tiles_of(g.d_state) * kTileRows;
  for (size_t t = 0; t < g.length; t += kTileRows) {
    const size_t rows = g.length - t < kTileRows ? g.length - t : kTileRows;
    pack_rows(g.C + t * g.c_stride, g.c_stride, rows, g.d_state, g.packed_c + t * g.d_state);
  }
  for (size_t s = 0; s < g.length && g.padded_b != nullptr; ++s) {
    float* to = g.padded_b + s * states;
    __builtin_memcpy(to, g.B + s * g.b_stride, g.d_state * sizeof(float));
    for (size_t n = g.d_state; n < states; ++n) to[n] = 0.0f;
  }
  const PlainRows b = {.weights = g.B,
                       .type = kFloat32,
                       .cols = static_cast<uint32_t>(g.b_stride),
                       .first = 0,
                       .count = g.length};
  pack_plain_panels<Float32Weights>(b, 0, g.d_state, g.work);
  for (size_t t = 0; t < g.length; t += kTileRows) {
    for (size_t s = 0; s < g.length && s < t + kTileRows; s += kTileCols) {
      Tile tile;
      clear(tile);
      add_product(tile, g.packed_c + t * g.d_state, 1, kTileRows, g.work + s * g.d_state,
                  g.d_state);
      for_tile([&](size_t i, size_t j) __attribute__((always_inline)) {
        store(g.scores + (t + i) * kScoresStride + s + j * kWidth, tile.sums[i][j]);
      });
    }
  }
}

// exp(a[t] - a[s]) for a vector of tokens s. Of two long sums that differ by little the high halves
// cancel exactly.
SSM_INLINE Floats decay(const SsdHead& h, size_t t, size_t s) {
  const Floats high = splat(h.a_high[t]) - load(h.a_high + s);
  return exp(high + (splat(h.a_low[t]) - load(h.a_low + s)));
}

// W: rows past the last token are zero.
SSM_INLINE void ssd_weights(const SsdHead& h, float* weights) {
  Ints lanes;
  for (size_t lane = 0; lane < kWidth; ++lane) lanes[lane] = static_cast<int32_t>(lane);
  for (size_t t = 0; t < tiles_of(h.length) * kTileRows; ++t) {
    float* row = weights + t * kScoresStride;
    // What the product of this tile reads.
    const size_t tile_end = (t / kTileRows + 1) * kTileRows;
    const size_t depth = h.length < tile_end ? h.length : tile_end;
    for (size_t s = 0; s < depth; s += kWidth) {
      Floats w = {};
      if (t < h.length && s <= t) {
        const Floats product = load(h.scores + t * kScoresStride + s) * load(h.factor + s);
        const Ints after = lanes > static_cast<int32_t>(t - s);
        w = select(after, Floats{}, product * decay(h, t, s));
      }
      store(row + s, w);
    }
    if (t < h.length) row[t] += h.D;
  }
}

// Rows of x as panels of columns, and the same times the factor of their token.
SSM_INLINE void pack_inputs(const SsdHead& h, const float* factors, size_t panels, float* inputs,
                            float* scaled) {
  const size_t panel_floats = h.length * kTileCols;
  for (size_t s = 0; s < h.length; ++s) {
    const float* x = h.x + s * h.x_stride;
    for (size_t p = 0; p < panels * kTileCols; p += kWidth) {
      const size_t left = h.head_dim > p ? h.head_dim - p : 0;
      const Floats v = left >= kWidth ? load(x + p) : load_first(x + p, left);
      const size_t at = p / kTileCols * panel_floats + s * kTileCols + p % kTileCols;
      store(inputs + at, v);
      store(scaled + at, v * splat(factors[s]));
    }
  }
}

// y of a panel of rows of the head, `left` of them: diag(carried) C Sᵀ + W x.
SSM_INLINE void write_outputs(const SsdHead& h, const float* carried, const float* weights,
                              const float* inputs, const float* state, size_t left, float* out) {
  for (size_t t = 0; t < h.length; t += kTileRows, out += kTileRows * h.out_stride) {
    Tile tile;
    clear(tile);
    add_product(tile, h.packed_c + t * h.d_state, 1, kTileRows, state, h.d_state);
    for_tile([&](size_t i, size_t j)
                 __attribute__((always_inline)) { tile.sums[i][j] *= splat(carried[t + i]); });
    const size_t depth = h.length < t + kTileRows ? h.length : t + kTileRows;
    add_product(tile, weights + t * kScoresStride, kScoresStride, 1, inputs, depth);
    for_tile([&](size_t i, size_t j) __attribute__((always_inline)) {
      if (t + i >= h.length) return;
      float* to = out + i * h.out_stride + j * kWidth;
      if (left >= (j + 1) * kWidth) {
        store(to, tile.sums[i][j]);
      } else if (left > j * kWidth) {
        store_first(to, tile.sums[i][j], left - j * kWidth);
      }
    });
  }
}

// Sᵀ of the same rows: forget Sᵀ + Bᵀ (w x).
SSM_INLINE void update_state(const SsdHead& h, float forget, const float* scaled, size_t states,
                             float* state) {
  for (size_t n = 0; n < states; n += kTileRows) {
    Tile tile;
    clear(tile);
    add_product(tile, h.padded_b + n, 1, states, scaled, h.length);
    for_tile([&](size_t i, size_t j) __attribute__((always_inline)) {
      float* at = state + (n + i) * kTileCols + j * kWidth;
      store(at, load(at) * splat(forget) + tile.sums[i][j]);
    });
  }
}

// One head: writes out, updates the state.
static void ssd_chunk(const SsdHead& h) {
  const size_t panels = (h.head_dim + kTileCols - 1) / kTileCols;
  const size_t states = tiles_of(h.d_state) * kTileRows;
  const size_t panel_floats = h.length * kTileCols;
  float* carried = h.work;
  float* weights = carried + kSsdPadding;
  float* inputs = weights + tiles_of(h.length) * kTileRows * kScoresStride;
  float* scaled = inputs + panels * panel_floats;
  const size_t last = h.length - 1;

  for (size_t s = 0; s < h.length; s += kWidth) {
    store(carried + s, decay(h, last, s) * load(h.factor + s));  // w, until the inputs have it
  }
  pack_inputs(h, carried, panels, inputs, scaled);
  for (size_t t = 0; t < h.length; t += kWidth) {
    store(carried + t, exp(load(h.a_high + t)));
  }
  ssd_weights(h, weights);

  const float forget = exp(splat(h.a_high[last]))[0];
  for (size_t panel = 0; panel < panels; ++panel) {
    float* state = h.state + panel * states * kTileCols;
    write_outputs(h, carried, weights, inputs + panel * panel_floats, state,
                  h.head_dim - panel * kTileCols, h.out + panel * kTileCols);
    update_state(h, forget, scaled + panel * panel_floats, states, state);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
