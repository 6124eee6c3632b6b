// Rotary embedding: how far a pair of columns of a head turns.
#pragma once
#include "metal/common.h"

struct Turn {
  float cosine, sine;
};

// Cosine and sine of an angle in radians, times `factor`. The angle grows with the position: it is
// reduced to an eighth of a turn about 0 first, so nothing is asked of functions that Metal lets be
// wrong for large arguments. pi / 2 is the sum of three floats; each product is exact before it is
// subtracted. Error below 2e-7 for angles up to 2^23.
inline Turn turn_of(float angle, float factor) {
  const float quarters = rint(angle * 0.636619772f);
  float rest = fma(quarters, -1.57079637050628662f, angle);
  rest = fma(quarters, 4.37113900018624283e-8f, rest);
  rest = fma(quarters, 1.71512451000588e-15f, rest);
  const float c = factor * precise::cos(rest), s = factor * precise::sin(rest);
  const float quarter = quarters - 4.0f * floor(0.25f * quarters);  // 0, 1, 2 or 3
  Turn turn;
  turn.cosine = quarter == 0.0f ? c : quarter == 1.0f ? -s : quarter == 2.0f ? -c : s;
  turn.sine = quarter == 0.0f ? s : quarter == 1.0f ? c : quarter == 2.0f ? -s : -c;
  return turn;
}

// The columns of pair i of a head.
struct Pair {
  uint first, second;
};

inline Pair pair_of(uint i, uint rotary_dim, uint interleaved) {
  Pair pair;
  pair.first = interleaved ? 2 * i : i;
  pair.second = interleaved ? 2 * i + 1 : i + rotary_dim / 2;
  return pair;
}
