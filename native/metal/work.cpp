#include "native/metal/work.h"

#include <algorithm>

#include "native/metal/tuning.h"

namespace ssm::metal {

namespace {

// Tokens of a chunk that is not worth cutting into pieces, at most.
constexpr uint64_t kFewRows = 32;

// The part of what is (slots, ...) that an operation touches: its rows have a slot each.
double used_slots_of(const Operation& operation) {
  return std::min(1.0, 1.0 * operation.field("batch") / operation.field("slots"));
}

double bytes_of(const Operation& operation) {
  const std::span<const BufferInfo> buffers = operation.info().buffers;
  bool looks_up = false;
  double bytes = 0, written_bytes = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Access access = buffers[i].access;
    if (is_paged(access)) continue;  // how many pages are used, only a run can tell
    const double part = is_slotted(access) ? used_slots_of(operation) : 1;
    const double of_buffer = part * static_cast<double>(operation.bindings[i].bytes);
    looks_up |= access == Access::looks_up;
    if (access != Access::looks_up) bytes += of_buffer;
    if (is_written(access)) written_bytes += of_buffer;
  }
  // Of a table only some rows are read: as many bytes as are written, or fewer.
  return looks_up ? bytes + written_bytes : bytes;
}

}  // namespace

double microseconds_of(const Operation& operation, const Work& work) {
  return std::max(bytes_of(operation) / kSmallGpuBytesPerMicrosecond,
                  work.arithmetic / kSmallGpuArithmeticPerMicrosecond);
}

bool is_of_a_chunk(const Work& work) { return work.chunk_rows > kFewRows; }

}  // namespace ssm::metal
