#include "metal/kv_cache_write.h"

#include "native/metal/dispatch.h"

namespace ssm::metal {

void kv_cache_write(const Operation& operation, Program& program) {
  const auto p = operation.params<KvCacheWriteParams>();
  auto dispatch =
      make_dispatch<KvCacheWriteParams>(kernel_name("kv_cache_write", operation, {"k"}), operation);
  dispatch.threads = {std::min(256u, program.limits().max_threads)};
  dispatch.threadgroups = {ceil_divide(p.kv_heads * p.head_dim, dispatch.threads.x),
                           std::min(p.length, p.window), p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
