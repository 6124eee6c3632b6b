#include "native/available_memory.h"

#ifdef __APPLE__
#include <mach/mach.h>
#include <unistd.h>
#endif

namespace ssm {

#ifdef __APPLE__

// What is free, and what the system takes back without writing anything: pages of files that
// nobody has changed, and what programs have marked as purgeable. "Free" alone is next to nothing
// on a Mac, which keeps files in memory as long as it can.
uint64_t available_memory() {
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const mach_port_t host = mach_host_self();
  const kern_return_t status =
      host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count);
  mach_port_deallocate(mach_task_self(), host);
  if (status != KERN_SUCCESS) return 0;
  const uint64_t reclaimable =
      uint64_t{pages.free_count} + pages.external_page_count + pages.purgeable_count;
  return reclaimable * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

#else

uint64_t available_memory() { return 0; }

#endif

}  // namespace ssm
