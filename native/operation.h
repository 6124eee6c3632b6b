// What a command list is made of: one operation, its parameters and the buffers that it reads and
// writes. Nothing here knows a device.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>

#include "native/data_type.h"
#include "native/memory.h"

namespace ssm {

// The one list of operations. name | parameter struct | buffers | bit mask of the buffers written.
// Buffers stand in the order inputs, weights, outputs; the parameter struct is metal/<name>.h; the
// CPU implementation is native/cpu/operations/<name>.cpp; JavaScript lists the same names in
// lib/operations/table.ts.
#define SSM_OPERATIONS(X)                                     \
  X(embedding, EmbeddingParams, 3, 0b100)                     \
  X(affine_embedding, AffineEmbeddingParams, 5, 0b10000)      \
  X(rms_norm, RmsNormParams, 3, 0b100)                        \
  X(gated_rms_norm, GatedRmsNormParams, 4, 0b1000)            \
  X(matmul, MatmulParams, 8, 0b10000000)                      \
  X(affine_matmul, AffineMatmulParams, 10, 0b1000000000)      \
  X(conv1d_update, Conv1dUpdateParams, 7, 0b1001000)          \
  X(conv1d_prefill, Conv1dPrefillParams, 7, 0b1001000)        \
  X(ssd_update, SsdUpdateParams, 10, 0b1010000000)            \
  X(ssd_chunk_scan, SsdChunkScanParams, 10, 0b1010000000)     \
  X(mamba2_update, Mamba2UpdateParams, 12, 0b110010001000)    \
  X(mlp_activation, MlpActivationParams, 3, 0b100)            \
  X(attention_decode, AttentionDecodeParams, 8, 0b10011000)   \
  X(attention_prefill, AttentionPrefillParams, 8, 0b10000000) \
  X(kv_cache_write, KvCacheWriteParams, 6, 0b001100)          \
  X(add, AddParams, 3, 0b100)                                 \
  X(argmax, ArgmaxParams, 2, 0b10)                            \
  X(keep_logits, KeepLogitsParams, 3, 0b100)                  \
  X(sample, SampleParams, 14, 0b11110110000000)               \
  X(token_logprobs, TokenLogprobsParams, 7, 0b1100000)        \
  X(cross_entropy, CrossEntropyParams, 3, 0b100)              \
  X(affine_quantize, AffineQuantizeParams, 4, 0b1110)         \
  X(affine_dequantize, AffineDequantizeParams, 4, 0b1000)     \
  X(cast, CastParams, 2, 0b10)                                \
  X(resolve_rows, ResolveRowsParams, 7, 0b1111000)            \
  X(copy, CopyParams, 2, 0b10)

enum class OperationKind {
#define SSM_KIND(name, Params, buffers, written) name,
  SSM_OPERATIONS(SSM_KIND)
#undef SSM_KIND
};

inline constexpr size_t kMaxBuffers = 14;
inline constexpr size_t kMaxParamBytes = 64;

// Part of a Memory, bound to one argument of an operation. An absent optional argument has no
// memory.
struct Binding {
  std::shared_ptr<Memory> memory;
  size_t offset = 0;  // bytes
  size_t bytes = 0;
  DataType type = kFloat32;
};

struct Operation {
  OperationKind kind;
  std::array<Binding, kMaxBuffers> bindings;
  alignas(8) std::array<std::byte, kMaxParamBytes> param_bytes;

  template <class Params>
  Params params() const {
    static_assert(sizeof(Params) <= kMaxParamBytes);
    Params p;
    std::memcpy(&p, param_bytes.data(), sizeof(Params));
    return p;
  }

  // Argument i as a pointer; null for an absent optional one. Alignment was checked when the
  // operation was recorded.
  template <class T>
  T* data(size_t i) const {
    const Binding& binding = bindings[i];
    return binding.memory ? reinterpret_cast<T*>(binding.memory->data() + binding.offset) : nullptr;
  }
};

struct OperationInfo {
  const char* name;
  size_t param_bytes;
  size_t buffers;
  unsigned written;  // bit i: buffer i is written
};

// Bit i: the operation writes buffer i and needs what it held before, all of it or in part.
unsigned updated_buffers(OperationKind kind);

// Indexed by OperationKind.
const OperationInfo& info_of(OperationKind kind);
size_t operation_count();

}  // namespace ssm
