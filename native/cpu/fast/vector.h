// Vectors of float32 and what the fast path computes with them, by the vector extensions of gcc and
// clang: the same text for every instruction set. Included by the files that are compiled once for
// each level (levels.h), with SSM_LEVEL the name of the level and its namespace.
//
// Code of a level must not share inline functions or templates with the rest of the addon, standard
// headers included: the linker keeps one copy of each, and if that were this one, machines without
// the instructions would crash. So: no header but <cstddef>, <cstdint> and intrinsics here, and
// everything in namespace SSM_LEVEL.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace ssm::cpu::SSM_LEVEL {

// Floats in a vector. Tests set SSM_VECTOR_WIDTH to run the code of a wider level without its
// instructions.
#if defined(SSM_VECTOR_WIDTH)
inline constexpr size_t kWidth = SSM_VECTOR_WIDTH;
#elif defined(__AVX512F__)
inline constexpr size_t kWidth = 16;
#elif defined(__AVX2__)
inline constexpr size_t kWidth = 8;
#else
inline constexpr size_t kWidth = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * kWidth)));
typedef int32_t Ints __attribute__((vector_size(4 * kWidth)));
typedef uint32_t Words __attribute__((vector_size(4 * kWidth)));
typedef uint16_t Halves __attribute__((vector_size(2 * kWidth)));

#define SSM_INLINE __attribute__((always_inline)) inline

// Memory need not be aligned: rows of a mapped file start anywhere.
template <class Vector>
SSM_INLINE Vector load(const void* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

template <class Vector>
SSM_INLINE void store(void* to, Vector v) {
  __builtin_memcpy(to, &v, sizeof(v));
}

SSM_INLINE Floats load(const float* from) { return load<Floats>(static_cast<const void*>(from)); }

// The first n of a vector, the rest zero; n <= kWidth.
SSM_INLINE Floats load_first(const float* from, size_t n) {
  Floats v = {};
  __builtin_memcpy(&v, from, n * sizeof(float));
  return v;
}

SSM_INLINE void store_first(float* to, Floats v, size_t n) {
  __builtin_memcpy(to, &v, n * sizeof(float));
}

SSM_INLINE Floats splat(float x) { return x - Floats{}; }

template <class To, class From>
SSM_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

SSM_INLINE Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }

// mask ? a : b, lane by lane; lanes of a mask are all ones or zero, as comparisons give them.
SSM_INLINE Floats select(Ints mask, Floats a, Floats b) {
  return bits_as<Floats>((bits_as<Ints>(a) & mask) | (bits_as<Ints>(b) & ~mask));
}

// v, but 0 from lane n on; n may be more than there are.
SSM_INLINE Floats first_lanes(Floats v, size_t n) {
  Ints lanes;
  for (size_t lane = 0; lane < kWidth; ++lane) lanes[lane] = static_cast<int32_t>(lane);
  const Ints limit = Ints{} + static_cast<int32_t>(n < kWidth ? n : kWidth);
  return bits_as<Floats>(bits_as<Ints>(v) & (lanes < limit));
}

SSM_INLINE Floats min(Floats a, Floats b) { return select(a < b, a, b); }
SSM_INLINE Floats max(Floats a, Floats b) { return select(a > b, a, b); }

// Sum of all lanes, in halves: lane i + lane i + width/2, and so on.
SSM_INLINE float sum(Floats v) {
#if defined(__AVX2__)
  __m256 parts[kWidth / 8];
  __builtin_memcpy(parts, &v, sizeof(v));
  const __m256 half = kWidth == 16 ? _mm256_add_ps(parts[0], parts[kWidth / 8 - 1]) : parts[0];
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

SSM_INLINE float dot(const float* a, const float* b, size_t n) {
  Floats partial[2] = {};
  size_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) {
    partial[0] += load(a + i) * load(b + i);
    partial[1] += load(a + i + kWidth) * load(b + i + kWidth);
  }
  for (; i + kWidth <= n; i += kWidth) partial[0] += load(a + i) * load(b + i);
  float total = sum(partial[0] + partial[1]);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// float16 and bfloat16 to float32, exactly. (With a mask of all lanes, because gcc 12 warns about
// the unmasked AVX-512 intrinsics: its bug 105593.)
SSM_INLINE Floats from_float16(Halves v) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xffff, bits_as<__m256i>(v));
#elif defined(__AVX2__)
  __m128i halves[kWidth / 8];
  __m256 floats[kWidth / 8];
  __builtin_memcpy(halves, &v, sizeof(v));
  for (size_t i = 0; i < kWidth / 8; ++i) floats[i] = _mm256_cvtph_ps(halves[i]);
  Floats result;
  __builtin_memcpy(&result, floats, sizeof(result));
  return result;
#else
  return vcvt_f32_f16(bits_as<float16x4_t>(v));
#endif
}

SSM_INLINE Floats from_bfloat16(Halves v) {
  return bits_as<Floats>(__builtin_convertvector(v, Words) << 16);
}

// exp(x), to 2 units in the last place. Below -87.3 it is 0, above 88.7 infinity; NaN stays NaN.
// x = n ln 2 + r; exp(r) by the polynomial of Cephes' expf (Moshier) on |r| <= ln 2 / 2; 2^n by
// adding n to the exponent.
SSM_INLINE Floats exp(Floats x) {
  constexpr float kLowest = -87.3365f, kHighest = 88.7228f;
  const Floats bounded = min(max(x, splat(kLowest)), splat(kHighest));
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
  const Floats shifted = bounded * 1.44269504f + splat(12582912.0f);
  const Floats n = shifted - splat(12582912.0f);
  const Floats r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * (r * r) + r + splat(1.0f);
  // In two steps, because 2^128 is no float32.
  const Ints half = (bits_as<Ints>(shifted) - bits_as<Ints>(splat(12582912.0f))) >> 1;
  const Ints rest = (bits_as<Ints>(shifted) - bits_as<Ints>(splat(12582912.0f))) - half;
  const auto power = [](Ints e) __attribute__((always_inline)) {
    return bits_as<Floats>((e + 127) << 23);
  };
  const Floats y = p * power(half) * power(rest);
  const Floats finite = select(x < splat(kLowest), Floats{}, y);
  const Floats any = select(x > splat(kHighest), splat(__builtin_inff()), finite);
  return select(x == x, any, x);
}

SSM_INLINE Floats silu(Floats x) { return x / (splat(1.0f) + exp(-x)); }

// The error function, to 2 units in the last place: a polynomial near zero, and 1 - exp of one
// beyond (coefficients: N. Juffa's erff, minimax).
SSM_INLINE Floats erf(Floats x) {
  const Floats t = max(x, -x), s = x * x;
  Floats p = t * -1.72853470e-5f + splat(3.83197126e-4f);
  p = p * s + (t * -3.88396438e-3f + splat(2.42546219e-2f));
  p = p * t + splat(-1.06777877e-1f);
  p = p * t + splat(-6.34846687e-1f);
  p = p * t + splat(-1.28717512e-1f);
  const Floats beyond = splat(1.0f) - exp(p * t - t);
  Floats q = s * -5.96761703e-4f + splat(4.99119423e-3f);
  q = q * s + splat(-2.67681349e-2f);
  q = q * s + splat(1.12819925e-1f);
  q = q * s + splat(-3.76125336e-1f);
  q = q * s + splat(1.28379166e-1f);
  const Floats y =
      select(t > splat(0.927734375f), select(x < Floats{}, -beyond, beyond), q * x + x);
  return select(x == x, y, x);
}

// Exact, as native/cpu/activations.h.
SSM_INLINE Floats gelu(Floats x) { return x * 0.5f * (splat(1.0f) + erf(x * 0.70710678f)); }

SSM_INLINE Floats relu2(Floats x) { return select(x < Floats{}, Floats{}, x * x); }

}  // namespace ssm::cpu::SSM_LEVEL
