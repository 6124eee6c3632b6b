#include "operation.h"

#include "params.h"

namespace ssm {

namespace {

constexpr OperationInfo kOperations[] = {
#define SSM_INFO(name, Params, buffers, written) {#name, sizeof(Params), buffers, written},
    SSM_OPERATIONS(SSM_INFO)
#undef SSM_INFO
};

}  // namespace

const OperationInfo& info_of(OperationKind kind) { return kOperations[static_cast<size_t>(kind)]; }

size_t operation_count() { return std::size(kOperations); }

}  // namespace ssm
