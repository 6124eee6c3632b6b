#include "native/metal/work.h"

#include <algorithm>

#include "native/metal/tuning.h"
#include "native/params.h"

namespace ssm::metal {

namespace {

// Tokens of a chunk that is not worth cutting into pieces, at most.
constexpr uint64_t kFewRows = 32;

// Rows of the operations that carry the weight of a model, 0 for all others.
uint64_t rows_of(const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::matmul:
      return operation.params<MatmulParams>().rows;
    case OperationKind::affine_matmul:
      return operation.params<AffineMatmulParams>().rows;
    case OperationKind::conv1d_prefill: {
      const auto p = operation.params<Conv1dPrefillParams>();
      return uint64_t{p.batch} * p.length;
    }
    case OperationKind::ssd_chunk_scan: {
      const auto p = operation.params<SsdChunkScanParams>();
      return uint64_t{p.batch} * p.length;
    }
    case OperationKind::attention_prefill: {
      const auto p = operation.params<AttentionPrefillParams>();
      return uint64_t{p.batch} * p.length;
    }
    default:
      return 0;
  }
}

// Whether the operation is a product of a decode step.
bool is_step(const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::matmul:
      return operation.params<MatmulParams>().step != 0;
    case OperationKind::affine_matmul:
      return operation.params<AffineMatmulParams>().step != 0;
    default:
      return false;
  }
}

// Multiplications and additions of the operations that have many to a byte, 0 for all others.
double arithmetic_of(const Operation& operation) {
  const auto rows = static_cast<double>(rows_of(operation));
  switch (operation.kind) {
    case OperationKind::matmul: {
      const auto p = operation.params<MatmulParams>();
      return 2.0 * rows * p.inputs * p.outputs;
    }
    case OperationKind::affine_matmul: {
      const auto p = operation.params<AffineMatmulParams>();
      return 2.0 * rows * p.inputs * p.outputs;
    }
    case OperationKind::ssd_chunk_scan: {
      const auto p = operation.params<SsdChunkScanParams>();
      const double of_state = 4.0 * p.head_dim * p.d_state;
      const double within_chunk = 2.0 * p.chunk_size * (p.head_dim + p.d_state);
      return rows * p.heads * (of_state + within_chunk);
    }
    case OperationKind::attention_prefill: {
      const auto p = operation.params<AttentionPrefillParams>();
      return 4.0 * rows * p.heads * p.head_dim * (uint64_t{p.window} + p.length);
    }
    default:
      return 0;
  }
}

// The part of its state that an operation touches: its rows have a slot each. 1 for all others.
double used_slots_of(const Operation& operation) {
  const auto part = [](const auto& p) { return std::min(1.0, 1.0 * p.batch / p.slots); };
  switch (operation.kind) {
    case OperationKind::conv1d_update:
      return part(operation.params<Conv1dUpdateParams>());
    case OperationKind::conv1d_prefill:
      return part(operation.params<Conv1dPrefillParams>());
    case OperationKind::ssd_update:
      return part(operation.params<SsdUpdateParams>());
    case OperationKind::ssd_chunk_scan:
      return part(operation.params<SsdChunkScanParams>());
    case OperationKind::mamba2_update:
      return part(operation.params<Mamba2UpdateParams>());
    case OperationKind::attention_decode:
      return part(operation.params<AttentionDecodeParams>());
    case OperationKind::attention_prefill:
      return part(operation.params<AttentionPrefillParams>());
    case OperationKind::kv_cache_write:
      return part(operation.params<KvCacheWriteParams>());
    case OperationKind::keep_logits:
      return part(operation.params<KeepLogitsParams>());
    case OperationKind::sample:
      return part(operation.params<SampleParams>());
    case OperationKind::token_logprobs:
      return part(operation.params<TokenLogprobsParams>());
    default:
      return 1;
  }
}

// Buffers that have a part for each slot.
unsigned slotted_buffers(OperationKind kind) {
  // keys, values: the only state that an operation reads and does not change.
  return kind == OperationKind::attention_prefill ? 0b11000 : updated_buffers(kind);
}

double bytes_of(const Operation& operation) {
  // Of a table only some rows are read: as many bytes as are written, or fewer.
  const bool is_lookup = operation.kind == OperationKind::embedding ||
                         operation.kind == OperationKind::affine_embedding;
  const OperationInfo& info = info_of(operation.kind);
  const unsigned slotted = slotted_buffers(operation.kind);
  const double used_slots = used_slots_of(operation);
  double bytes = 0;
  for (size_t i = 0; i < info.buffers; ++i) {
    const bool is_written = (info.written >> i & 1u) != 0;
    const double part = (slotted >> i & 1u) != 0 ? used_slots : 1;
    const double of_buffer = part * static_cast<double>(operation.bindings[i].bytes);
    if (is_lookup)
      bytes += is_written ? 2 * of_buffer : 0;
    else
      bytes += of_buffer;
  }
  return bytes;
}

}  // namespace

double microseconds_of(const Operation& operation) {
  return std::max(bytes_of(operation) / kSmallGpuBytesPerMicrosecond,
                  arithmetic_of(operation) / kSmallGpuArithmeticPerMicrosecond);
}

bool is_of_a_chunk(const Operation& operation) {
  return !is_step(operation) && rows_of(operation) > kFewRows;
}

}  // namespace ssm::metal
