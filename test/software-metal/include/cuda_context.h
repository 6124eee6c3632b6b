// What a kernel knows of its thread when clang compiles it for an NVIDIA GPU, whose warps are as
// wide as Metal's simdgroups: the twin of kernel_context.h and simdgroup_exchange.h. Neither a
// header nor a library of the CUDA toolkit is needed. Included by the shim.
#pragma once

namespace software_metal {

inline constexpr unsigned kLanes = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

struct Site {  // for the rig; nothing here looks at it
  const char* operation;
  const char* file;
  int line;
};

inline unsigned current_lane() { return __nvvm_read_ptx_sreg_laneid(); }

inline void wait_for_simdgroup(Site) { __nvvm_bar_warp_sync(kAllLanes); }
inline void wait_at_simdgroup_barrier(Site, unsigned) { __nvvm_bar_warp_sync(kAllLanes); }
inline void wait_at_threadgroup_barrier(Site, unsigned) { __syncthreads(); }

// Shuffles take 32-bit words.
template <class T>
struct Words {
  static constexpr int kCount = (sizeof(T) + 3) / 4;
  int words[kCount];

  static Words of(T value) {
    Words result{};
    __builtin_memcpy(result.words, &value, sizeof(T));
    return result;
  }
  T value() const {
    T result;
    __builtin_memcpy(&result, words, sizeof(T));
    return result;
  }
};

// All lanes must ask for a value together.
template <class T>
struct Exchanged {
  T mine;
  static constexpr unsigned arrived = kAllLanes;

  bool has(unsigned) const { return true; }
  T of(unsigned lane) const {
    Words<T> words = Words<T>::of(mine);
    for (int& word : words.words) word = __nvvm_shfl_sync_idx_i32(kAllLanes, word, lane, 31);
    return words.value();
  }
};

template <class T>
inline Exchanged<T> exchange(T value, Site) {
  return {value};
}

// The same tree as on the rig: lane i takes lane i + step in, from the widest step down. Every lane
// ends with the whole.
template <class T, class Combine>
inline T reduce(T value, Combine combine, Site) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    Words<T> words = Words<T>::of(value);
    for (int& word : words.words) word = __nvvm_shfl_sync_bfly_i32(kAllLanes, word, step, 31);
    value = combine(value, words.value());
  }
  return value;
}

inline unsigned lanes_with(bool value, Site) { return __nvvm_vote_ballot_sync(kAllLanes, value); }

// The place of a lane's first element in an 8 x 8 matrix; it has the next one of the row too. Sums
// and left factors of the tensor cores' instructions stand like this, and right factors the other
// way round (PTX ISA, "Matrix Fragments for mma.m8n8k4 with .f64" and "mma.m16n8k8").
struct MatrixPlace {
  unsigned row, col;
};
inline MatrixPlace place_of(unsigned lane) { return {lane / 4, lane % 4 * 2}; }

// The asm blocks have no side effects: what nobody uses is left out, and what a loop repeats is
// computed once.

// An 8 x 8 matrix of 16-bit elements, two of a row in each lane, turned over its diagonal.
inline unsigned transposed_pairs(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

// The same matrix over its diagonal, as right factors stand.
template <class T>
struct Transposed {
  T elements[2];

  // From what each lane has of it.
  void exchange(const T (&given)[2]) {
    if constexpr (sizeof(T) == 2) {
      const unsigned pair = transposed_pairs(__builtin_bit_cast(unsigned, given));
      __builtin_memcpy(elements, &pair, sizeof(pair));
    } else {  // by halves
      const unsigned first = __builtin_bit_cast(unsigned, given[0]);
      const unsigned second = __builtin_bit_cast(unsigned, given[1]);
      const unsigned low = transposed_pairs((first & 0xffffu) | second << 16);
      const unsigned high = transposed_pairs(first >> 16 | (second & 0xffff0000u));
      elements[0] = __builtin_bit_cast(T, (low & 0xffffu) | high << 16);
      elements[1] = __builtin_bit_cast(T, low >> 16 | (high & 0xffff0000u));
    }
  }
};

// Both forms of a matrix whose rows are `stride` elements apart, or its columns. Neighbours are
// read together: kernels keep rows at even places.
template <class T>
inline void load_matrix(const T* first, unsigned long stride, bool transpose, T (&elements)[2],
                        Transposed<T>& transposed) {
  const auto [row, col] = place_of(current_lane());
  T along[2];
  const T* pair = first + row * stride + col;
  __builtin_memcpy(along, __builtin_assume_aligned(pair, sizeof(along)), sizeof(along));
  const T across[2] = {first[col * stride + row], first[(col + 1) * stride + row]};
  for (unsigned i = 0; i < 2; ++i) {
    elements[i] = transpose ? across[i] : along[i];
    transposed.elements[i] = transpose ? along[i] : across[i];
  }
}

// a b + c for two neighbours of a row; `b` transposed. Products and sums of eight are float64,
// rounded once.
inline void multiply_accumulate(const float (&a)[2], const float (&)[2], const Transposed<float>& b,
                                float (&c)[2], Site) {
  double sums[2] = {c[0], c[1]};
  // The even terms first, then the odd ones: each lane has one of either.
  for (unsigned i = 0; i < 2; ++i) {
    double next[2];
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%4, %5};"
        : "=d"(next[0]), "=d"(next[1])
        : "d"(double(a[i])), "d"(double(b.elements[i])), "d"(sums[0]), "d"(sums[1]));
    sums[0] = next[0];
    sums[1] = next[1];
  }
  c[0] = float(sums[0]);
  c[1] = float(sums[1]);
}

// The same for float16 factors: eight rows of a product that has sixteen.
inline void multiply_accumulate(const _Float16 (&a)[2], const _Float16 (&)[2],
                                const Transposed<_Float16>& b, float (&c)[2], Site) {
  const unsigned left = __builtin_bit_cast(unsigned, a);
  const unsigned right = __builtin_bit_cast(unsigned, b.elements);
  float next[4];
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%7, %8, %9, %10};"
      : "=f"(next[0]), "=f"(next[1]), "=f"(next[2]), "=f"(next[3])
      : "r"(left), "r"(0), "r"(right), "f"(c[0]), "f"(c[1]), "f"(0.0f), "f"(0.0f));
  c[0] = next[0];
  c[1] = next[1];
}

// ---- the library functions that kernels use: those of CUDA come with its toolkit only ----

#define SOFTWARE_METAL_LIBRARY(name) software_metal::name

// The instruction is within 2 units in the last place of 2^x for all x.
inline float exp2f(float x) { return __nvvm_ex2_approx_f(x); }

// x = n ln 2 + r with |r| <= ln 2 / 2, subtracted in two parts; 2^n in two, so that neither
// overflows before their product does.
inline float expf(float x) {
  // Beyond the ends it is 0 and infinity; NaN stays.
  const float inside = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
  const float n = __builtin_rintf(inside * 1.44269504f);
  float r = __builtin_fmaf(n, -0.693145752f, inside);
  r = __builtin_fmaf(n, -1.42860677e-6f, r);
  const float half = __builtin_floorf(n * 0.5f);
  return exp2f(r * 1.44269504f) * exp2f(half) * exp2f(n - half);
}

// The nearest multiple of pi / 2, and what is left, |rest| <= pi / 4; for arguments up to 2^13.
struct Quarter {
  float rest;
  int quarters;
};
inline Quarter quarter_of(float x) {
  const float n = __builtin_rintf(x * 0.636619772f);
  float rest = __builtin_fmaf(n, -1.57079637050628662f, x);
  rest = __builtin_fmaf(n, 4.37113900018624283e-8f, rest);
  return {rest, int(n) & 3};
}

// Taylor's polynomials; the first term left out is below 3e-8 at pi / 4.
inline float sine_of(float r) {
  const float z = r * r;
  float sum = __builtin_fmaf(z, 2.75573192e-6f, -1.98412698e-4f);
  sum = __builtin_fmaf(z, sum, 8.33333333e-3f);
  sum = __builtin_fmaf(z, sum, -1.66666667e-1f);
  return __builtin_fmaf(r * z, sum, r);
}
inline float cosine_of(float r) {
  const float z = r * r;
  float sum = __builtin_fmaf(z, -2.75573192e-7f, 2.48015873e-5f);
  sum = __builtin_fmaf(z, sum, -1.38888889e-3f);
  sum = __builtin_fmaf(z, sum, 4.16666667e-2f);
  sum = __builtin_fmaf(z, sum, -0.5f);
  return __builtin_fmaf(z, sum, 1.0f);
}

inline float sinf(float x) {
  const Quarter q = quarter_of(x);
  const float value = q.quarters % 2 == 0 ? sine_of(q.rest) : cosine_of(q.rest);
  return q.quarters < 2 ? value : -value;
}
inline float cosf(float x) {
  const Quarter q = quarter_of(x);
  const float value = q.quarters % 2 == 0 ? cosine_of(q.rest) : sine_of(q.rest);
  return q.quarters == 0 || q.quarters == 3 ? value : -value;
}

// x = 2^k m with m from sqrt(1/2) to sqrt(2); log m = 2 atanh(s) with s = (m - 1) / (m + 1), by the
// odd polynomial of fdlibm's logf (Sun Microsystems, 1993), below 1 unit in the last place.
inline float logf(float x) {
  if (!(x > 0.0f)) return x == 0.0f ? -__builtin_inff() : __builtin_nanf("");
  if (x == __builtin_inff()) return x;
  int k = 0;
  if (x < 1.17549435e-38f) {
    x *= 33554432.0f;  // 2^25
    k = -25;
  }
  const unsigned bits = __builtin_bit_cast(unsigned, x) + (0x3f800000u - 0x3f3504f3u);
  k += int(bits >> 23) - 127;
  const float m = __builtin_bit_cast(float, (bits & 0x7fffffu) + 0x3f3504f3u);
  const float f = m - 1.0f, s = f / (2.0f + f), z = s * s, w = z * z;
  const float r =
      z * (0.66666662693f + w * 0.28498786688f) + w * (0.40000972152f + w * 0.24279078841f);
  const float half_square = 0.5f * f * f, n = float(k);
  return s * (half_square + r) + n * 9.0580006145e-6f - half_square + f + n * 0.69313812256f;
}
inline float log2f(float x) { return logf(x) * 1.44269504f; }

// ---- calling a kernel ----

template <class Function>
struct Parameters;
template <class... P>
struct Parameters<void (*)(P...)> {
  template <int i>
  using At = __type_pack_element<i, P...>;
};

// The thread that runs, in the words of compile-kernels.mjs.
struct Thread {
  unsigned position_in_grid[3], position_in_threadgroup[3], index, lane;
};
struct Threadgroup {
  unsigned position_in_grid[3], threads[3], threadgroups[3], grid[3], simdgroups;
};

inline Threadgroup running_threadgroup() {
  Threadgroup group = {
      {__nvvm_read_ptx_sreg_ctaid_x(), __nvvm_read_ptx_sreg_ctaid_y(),
       __nvvm_read_ptx_sreg_ctaid_z()},
      {__nvvm_read_ptx_sreg_ntid_x(), __nvvm_read_ptx_sreg_ntid_y(), __nvvm_read_ptx_sreg_ntid_z()},
      {__nvvm_read_ptx_sreg_nctaid_x(), __nvvm_read_ptx_sreg_nctaid_y(),
       __nvvm_read_ptx_sreg_nctaid_z()},
      {},
      0};
  for (int d = 0; d < 3; ++d) group.grid[d] = group.threads[d] * group.threadgroups[d];
  const unsigned threads = group.threads[0] * group.threads[1] * group.threads[2];
  group.simdgroups = (threads + kLanes - 1) / kLanes;
  return group;
}

inline Thread running_thread(const Threadgroup& group) {
  Thread thread = {
      {},
      {__nvvm_read_ptx_sreg_tid_x(), __nvvm_read_ptx_sreg_tid_y(), __nvvm_read_ptx_sreg_tid_z()},
      0,
      current_lane()};
  const auto& position = thread.position_in_threadgroup;
  for (int d = 0; d < 3; ++d) {
    thread.position_in_grid[d] = group.position_in_grid[d] * group.threads[d] + position[d];
  }
  thread.index = position[0] + group.threads[0] * (position[1] + group.threads[1] * position[2]);
  return thread;
}

}  // namespace software_metal
