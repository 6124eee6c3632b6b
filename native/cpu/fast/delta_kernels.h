// The gated delta rule (native/cpu/delta.h): one token, and a chunk as products of tiles. With a[t]
// the sum of the logarithms of the decays of a chunk's tokens up to t, and S the state before it,
// what the tokens add to the state is U of
//   (I + L) U = diag(beta) (V - diag(exp(a)) K Sᵀ)
//   L[t, s] = beta[t] exp(a[t] - a[s]) (K Kᵀ)[t, s], s < t
// (Yang and others, "Parallelizing linear transformers with the delta rule", 2024, section 3, and
// "Gated delta networks", 2024, section 3.3). Then U takes the place that x has in the SSD form
// (ssd_chunk_kernels.h), with K for B, Q for C and factors of 1. The triangular system is solved
// tile by tile: what the tiles above give is a product, and within a tile, whose rows are in
// registers, one row after the other. No inverse is made.
#pragma once

#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/ssd_chunk_kernels.h"
#include "native/cpu/fast/tile_kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// As delta_step there. Both products with a row of the state come from one pass over it:
// S q after the update is decay * (S q) + u * (k . q).
static void delta_step(const float* q, const float* k, const float* v, float beta, float decay,
                       float* S, float* o, size_t value_dim, size_t key_dim) {
  const float qk = dot(q, k, key_dim);
  for (size_t row = 0; row < value_dim; ++row, S += key_dim) {
    Floats with_k = {}, with_q = {};
    size_t n = 0;
    for (; n + kWidth <= key_dim; n += kWidth) {
      const Floats s = load(S + n);
      with_k += s * load(k + n);
      with_q += s * load(q + n);
    }
    float held = sum(with_k), read = sum(with_q);
    for (; n < key_dim; ++n) {
      held += S[n] * k[n];
      read += S[n] * q[n];
    }
    const float u = beta * (v[row] - decay * held);
    o[row] = decay * read + u * qk;
    for (n = 0; n + kWidth <= key_dim; n += kWidth) {
      store(S + n, splat(decay) * load(S + n) + splat(u) * load(k + n));
    }
    for (; n < key_dim; ++n) S[n] = decay * S[n] + u * k[n];
  }
}

// Floats that delta_chunk works in.
static size_t delta_work(size_t length) {
  const size_t rows = tiles_of(length) * kTileRows;
  return kSsdPadding + 2 * rows * kScoresStride + 2 * length * kTileCols;
}

// W of the SSD form, and -L. Rows past the last token are zero.
SSM_INLINE void delta_weights(const DeltaHead& d, float* weights, float* system) {
  const SsdHead& h = d.ssd;
  Ints lanes;
  for (size_t lane = 0; lane < kWidth; ++lane) lanes[lane] = static_cast<int32_t>(lane);
  for (size_t t = 0; t < tiles_of(h.length) * kTileRows; ++t) {
    // What the products of this tile read.
    const size_t tile_end = (t / kTileRows + 1) * kTileRows;
    const size_t depth = h.length < tile_end ? h.length : tile_end;
    for (size_t s = 0; s < depth; s += kWidth) {
      Floats weight = {}, coefficient = {};
      if (t < h.length && s <= t) {
        const Floats factor = decay(h, t, s);
        const Ints last = Ints{} + static_cast<int32_t>(t - s);
        const size_t at = t * kScoresStride + s;
        weight = select(lanes > last, Floats{}, load(h.scores + at) * factor);
        coefficient =
            select(lanes >= last, Floats{}, load(d.key_scores + at) * factor * splat(-h.factor[t]));
      }
      store(weights + t * kScoresStride + s, weight);
      store(system + t * kScoresStride + s, coefficient);
    }
  }
}

// The right side of the system for the tile of tokens from t on: beta (v - exp(a) K Sᵀ), of
// `left` columns of v.
SSM_INLINE void right_side(const DeltaHead& d, const float* carried, const float* v, size_t left,
                           size_t t, Tile& tile) {
  const SsdHead& h = d.ssd;
  for_tile([&](size_t i, size_t j) __attribute__((always_inline)) {
    Floats given = {};
    if (t + i < h.length && left > j * kWidth) {
      const float* from = v + (t + i) * h.x_stride + j * kWidth;
      given = left >= (j + 1) * kWidth ? load(from) : load_first(from, left - j * kWidth);
    }
    const Floats held = splat(carried[t + i]) * tile.sums[i][j];
    // Beyond the last token both are 0, whatever stands there.
    tile.sums[i][j] = t + i < h.length ? splat(h.factor[t + i]) * (given - held) : Floats{};
  });
}

// Takes the unknowns of a tile's rows out of the rows below them; `system` is the tile's diagonal.
SSM_INLINE void substitute(const float* system, Tile& tile) {
#pragma GCC unroll 14
  for (size_t i = 1; i < kTileRows; ++i) {
#pragma GCC unroll 13
    for (size_t k = 0; k < i; ++k) {
      const Floats coefficient = splat(system[i * kScoresStride + k]);
#pragma GCC unroll 3
      for (size_t j = 0; j < kTileVectors; ++j) {
        tile.sums[i][j] += coefficient * tile.sums[k][j];
      }
    }
  }
}

// U of a panel of rows of the head, and the same times the factor of each token, as panels.
SSM_INLINE void solve(const DeltaHead& d, const float* carried, const float* system,
                      const float* state, const float* v, size_t left, float* updates,
                      float* scaled) {
  const SsdHead& h = d.ssd;
  const size_t last = h.length - 1;
  for (size_t t = 0; t < h.length; t += kTileRows) {
    Tile tile;
    clear(tile);
    add_product(tile, d.packed_k + t * h.d_state, 1, kTileRows, state, h.d_state);
    right_side(d, carried, v, left, t, tile);
    add_product(tile, system + t * kScoresStride, kScoresStride, 1, updates, t);
    substitute(system + t * kScoresStride + t, tile);
    for_tile([&](size_t i, size_t j) __attribute__((always_inline)) {
      if (t + i < h.length) store(updates + (t + i) * kTileCols + j * kWidth, tile.sums[i][j]);
    });
  }
  for (size_t s = 0; s < h.length; ++s) {
    const Floats factor = splat(decay(h, last, s)[0]);
    for (size_t j = 0; j < kTileCols; j += kWidth) {
      store(scaled + s * kTileCols + j, load(updates + s * kTileCols + j) * factor);
    }
  }
}

// A chunk of one head: writes out, updates the state.
static void delta_chunk(const DeltaHead& d) {
  const SsdHead& h = d.ssd;
  const size_t panels = (h.head_dim + kTileCols - 1) / kTileCols;
  const size_t states = tiles_of(h.d_state) * kTileRows;
  const size_t rows = tiles_of(h.length) * kTileRows;
  float* carried = h.work;
  float* weights = carried + kSsdPadding;
  float* system = weights + rows * kScoresStride;
  float* updates = system + rows * kScoresStride;
  float* scaled = updates + h.length * kTileCols;

  for (size_t t = 0; t < h.length; t += kWidth) store(carried + t, exp(load(h.a_high + t)));
  for (size_t t = h.length; t < rows; ++t) carried[t] = 0.0f;
  delta_weights(d, weights, system);
  const float forget = exp(splat(h.a_high[h.length - 1]))[0];
  for (size_t panel = 0; panel < panels; ++panel) {
    float* state = h.state + panel * states * kTileCols;
    const size_t left = h.head_dim - panel * kTileCols;
    solve(d, carried, system, state, h.x + panel * kTileCols, left, updates, scaled);
    write_outputs(h, carried, weights, updates, state, left, h.out + panel * kTileCols);
    update_state(h, forget, scaled, states, state);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
