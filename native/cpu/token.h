// Token ids come from a device buffer that anybody may have written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "native/failure.h"

namespace ssm::cpu {

// The token as an index. Throws Failed when the table has no such row.
inline size_t checked_token(const char* operation, uint32_t token, uint32_t vocabulary) {
  if (token >= vocabulary) {
    throw Failed(FailureReason::bad_data,
                 "[" + std::string(operation) + "] token id " + std::to_string(token) +
                     " is outside the vocabulary of " + std::to_string(vocabulary));
  }
  return token;
}

}  // namespace ssm::cpu
