// The operations that have a fast version. Each has the contract of the reference loop of the same
// name (native/cpu/operations.h) and may hand over to it for shapes that it has nothing for.
#pragma once

#include "native/cpu/fast/kernels.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"
#include "native/params.h"

namespace ssm::cpu {

using FastFunction = void (*)(const Operation&, ThreadPool&, const Kernels&);

// Null: the reference loop is all there is.
FastFunction fast_function(OperationKind kind);

namespace fast {

#define SSM_FAST_OPERATIONS(X) \
  X(rms_norm)                  \
  X(gated_rms_norm)            \
  X(matmul)                    \
  X(affine_matmul)             \
  X(conv1d_update)             \
  X(conv1d_prefill)            \
  X(ssd_update)                \
  X(ssd_chunk_scan)            \
  X(mamba2_update)             \
  X(mlp_activation)            \
  X(attention_decode)          \
  X(attention_prefill)         \
  X(argmax)                    \
  X(cross_entropy)

#define SSM_DECLARE(name) \
  void name(const Operation& operation, ThreadPool& threads, const Kernels& kernels);
SSM_FAST_OPERATIONS(SSM_DECLARE)
#undef SSM_DECLARE

}  // namespace fast

}  // namespace ssm::cpu
