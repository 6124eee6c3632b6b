#include "system.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace metal_stand_in {

namespace {

constexpr size_t kGuard = 64 << 20;  // address space on either side; costs nothing
constexpr uint32_t kPattern = 0x7fc0dead;

struct Mapping {
  void* block;  // with the guards
  size_t block_bytes;
  size_t bytes;       // that were asked for
  bool is_patterned;  // the rest of the last page
};

struct System {
  std::mutex mutex;
  std::map<const std::byte*, Mapping> mappings;
  std::multimap<const std::byte*, size_t> buffers;
  std::atomic<uint64_t> allocations{0};
};

System& system() {
  static auto* instance = new System;  // never destroyed: threads outlive main()
  return *instance;
}

size_t round_up(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Words behind the end, the last of them whole; bytes before the first one do not count.
template <class Visit>
void visit_rest(const std::byte* begin, const Mapping& mapping, Visit visit) {
  for (size_t at = (mapping.bytes + 3) / 4 * 4; at < round_up(mapping.bytes); at += 4) {
    visit(reinterpret_cast<uint32_t*>(const_cast<std::byte*>(begin) + at), at);
  }
}

// With the lock held. The mapping that has an address, or the end of all.
std::map<const std::byte*, Mapping>::const_iterator find(const std::byte* address) {
  const auto& all = system().mappings;
  auto next = all.upper_bound(address);
  if (next == all.begin()) return all.end();
  --next;
  return address < next->first + round_up(next->second.bytes) ? next : all.end();
}

}  // namespace

uint64_t allocations() { return system().allocations; }

size_t mapped_bytes(const std::byte* address) {
  const std::lock_guard lock(system().mutex);
  const auto mapping = find(address);
  if (mapping == system().mappings.end()) return 0;
  const std::byte* end = mapping->first + mapping->second.bytes;
  return address < end ? static_cast<size_t>(end - address) : 0;
}

std::string overrun(const std::byte* address) {
  const std::lock_guard lock(system().mutex);
  const auto mapping = find(address);
  if (mapping == system().mappings.end() || !mapping->second.is_patterned) return "";
  std::string result;
  visit_rest(mapping->first, mapping->second, [&](uint32_t* word, size_t at) {
    if (*word == kPattern) return;
    if (result.empty()) {
      result = "OUT OF BOUNDS: byte " + std::to_string(at) + " of a block of " +
               std::to_string(mapping->second.bytes) + " bytes has been written";
    }
    *word = kPattern;
  });
  return result;
}

void note_buffer(const std::byte* begin, size_t bytes) {
  const std::lock_guard lock(system().mutex);
  system().buffers.emplace(begin, bytes);
}

void forget_buffer(const std::byte* begin, size_t bytes) {
  const std::lock_guard lock(system().mutex);
  auto [first, last] = system().buffers.equal_range(begin);
  while (first != last && first->second != bytes) ++first;
  if (first != last) system().buffers.erase(first);
}

}  // namespace metal_stand_in

using namespace metal_stand_in;

void* stand_in_mmap(void* address, size_t bytes, int protection, int flags, int file,
                    off_t offset) noexcept {
  if (address != nullptr || (flags & MAP_FIXED) != 0) std::abort();  // not what is stood in for
  const size_t pages = round_up(bytes);
  const size_t block_bytes = kGuard + pages + kPage + kGuard;
  void* block =
      mmap(nullptr, block_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return MAP_FAILED;
  auto* begin = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<size_t>(block) + kGuard));
  const bool is_file = (flags & MAP_ANONYMOUS) == 0;
  const size_t mapped = is_file ? bytes : pages;
  if (mmap(begin, mapped, protection, flags | MAP_FIXED, file, offset) == MAP_FAILED) {
    munmap(block, block_bytes);
    return MAP_FAILED;
  }
  const Mapping mapping{block, block_bytes, bytes, !is_file && (protection & PROT_WRITE) != 0};
  if (mapping.is_patterned) {
    visit_rest(begin, mapping, [](uint32_t* word, size_t) { *word = kPattern; });
  }
  if (!is_file) system().allocations += 1;
  const std::lock_guard lock(system().mutex);
  system().mappings.emplace(begin, mapping);
  return begin;
}

int stand_in_munmap(void* pages, size_t bytes) noexcept {
  const auto* begin = static_cast<const std::byte*>(pages);
  const std::lock_guard lock(system().mutex);
  const auto mapping = system().mappings.find(begin);
  if (mapping == system().mappings.end() || round_up(mapping->second.bytes) != round_up(bytes)) {
    std::fputs("Metal: munmap of what mmap did not give\n", stderr);
    std::abort();
  }
  for (const auto& [buffer, length] : system().buffers) {
    if (buffer >= begin + round_up(bytes) || begin >= buffer + length) continue;
    std::fputs("Metal: memory is unmapped while a buffer has it\n", stderr);
    std::abort();
  }
  const Mapping gone = mapping->second;
  system().mappings.erase(mapping);
  return munmap(gone.block, gone.block_bytes);
}

long stand_in_sysconf(int name) noexcept {
  return name == _SC_PAGESIZE ? static_cast<long>(kPage) : sysconf(name);
}
