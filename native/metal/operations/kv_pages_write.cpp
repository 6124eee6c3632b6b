#include "metal/kv_pages_write.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void kv_pages_write(const Operation& operation, Program& program) {
  const auto p = operation.params<KvPagesWriteParams>();
  auto dispatch = make_dispatch<KvPagesWriteParams>(
      kernel_name("kv_pages_write", operation, {"k", "keys"}), operation);
  one_thread_each(dispatch, p.cols, p.length, program.limits());
  dispatch.threadgroups.z = p.batch;
  program.add(dispatch);
}

}  // namespace ssm::metal
