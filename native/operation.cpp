#include "native/operation.h"

#include "native/params.h"

namespace ssm {

namespace {

constexpr OperationInfo kOperations[] = {
#define SSM_INFO(name, Params, buffers, written) {#name, sizeof(Params), buffers, written},
    SSM_OPERATIONS(SSM_INFO)
#undef SSM_INFO
};

}  // namespace

// Not among them is `out` of the operations on state: a row without a slot leaves its part alone,
// but what that part holds is of use to nobody.
unsigned updated_buffers(OperationKind kind) {
  switch (kind) {
    case OperationKind::conv1d_update:
    case OperationKind::conv1d_prefill:
      return 0b1000;  // state
    case OperationKind::ssd_update:
    case OperationKind::ssd_chunk_scan:
      return 0b10000000;  // state
    case OperationKind::mamba2_update:
      return 0b10001000;  // convState, ssmState
    case OperationKind::attention_decode:
      return 0b11000;  // keys, values
    case OperationKind::kv_cache_write:
      return 0b1100;  // keys, values
    case OperationKind::keep_logits:
      return 0b100;  // kept
    case OperationKind::sample:
      // counts, history, remaining, kept, out: rows that do nothing leave them alone
      return 0b1110110000000;
    case OperationKind::token_logprobs:
      return 0b1100000;  // reported, logprobs: of slots that report
    case OperationKind::resolve_rows:
      return 0b1000;  // position
    default:
      return 0;
  }
}

const OperationInfo& info_of(OperationKind kind) { return kOperations[static_cast<size_t>(kind)]; }

size_t operation_count() { return std::size(kOperations); }

}  // namespace ssm
