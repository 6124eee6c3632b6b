// out[i] = x[i], in another element type: round to nearest, ties to even
#include "metal/cast.h"

#include <type_traits>

#include "native/cpu/operations.h"

namespace ssm::cpu {

void cast(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<CastParams>();
  with_float_type(operation.bindings[0].type, [&](auto* from) {
    const auto* x = operation.data<std::remove_pointer_t<decltype(from)>>(0);  // (count)
    with_float_type(operation.bindings[1].type, [&](auto* to) {
      using Out = std::remove_const_t<std::remove_pointer_t<decltype(to)>>;
      auto* out = operation.data<Out>(1);  // (count)
      threads.parallel_for(p.count, 4, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = from_float<Out>(to_float(x[i]));
      });
    });
  });
}

}  // namespace ssm::cpu
