#include "native/cpu/fast/operations.h"

#include <array>

namespace ssm::cpu {

FastFunction fast_function(OperationKind kind) {
  switch (kind) {
#define SSM_CASE(name)      \
  case OperationKind::name: \
    return fast::name;
    SSM_FAST_OPERATIONS(SSM_CASE)
#undef SSM_CASE
    default:
      return nullptr;
  }
}

}  // namespace ssm::cpu
