#include "access_checker.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "machine.h"

namespace software_metal {

namespace {

// Threads whose accesses are kept as one, of which only the last is known.
enum Shared : uint8_t { kAlone, kWithinSimdgroup, kAcrossSimdgroups };

// The last access to one byte of memory that the kernel may write.
struct Access {
  uint32_t threadgroup;  // number + 1; 0: there was none
  uint16_t thread;
  uint8_t is_atomic;
  uint8_t shared;                   // Shared: who did the same, unordered with it
  Epochs epochs, simdgroup_epochs;  // when it happened
  uint32_t place;                   // of the code, from the beginning of its module
};

struct Cell {
  Access write, read;
};

// What is known of one region. Arrays come zeroed from the system, and cost only what is touched.
template <class T>
class Shadow {
 public:
  explicit Shadow(size_t count) : bytes_(std::max<size_t>(count * sizeof(T), 1)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory for the access checker");
    cells_ = static_cast<T*>(memory);
  }
  ~Shadow() { munmap(cells_, bytes_); }
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  T& operator[](size_t i) { return cells_[i]; }
  void clear() { std::memset(static_cast<void*>(cells_), 0, bytes_); }

 private:
  size_t bytes_;
  T* cells_;
};

enum Touched : uint8_t { kRead = 1, kWritten = 2 };

// A stretch of memory that one or more arguments share, such as x and out of an operation in place.
struct Block {
  const std::byte* begin;
  const std::byte* end;
  bool is_threadgroup;
  std::unique_ptr<Shadow<Cell>> cells;  // null when nothing of it is written
};

struct Watched {
  Region region;
  size_t block;
  Traffic traffic;
  std::unique_ptr<Shadow<uint8_t>> touched;  // Touched, of each byte
};

struct Checker {
  bool instrumented = false;
  bool active = false;
  uint32_t threadgroup = 0;           // number + 1
  const std::byte* module = nullptr;  // where the code of the running kernel is loaded
  MemoryRange fibers{};               // most accesses go there: variables, what lanes exchange
  std::vector<Watched> regions;
  std::vector<Block> blocks;
};

Checker& checker() {
  static Checker& instance = *new Checker;  // never destroyed: threads outlive main()
  return instance;
}

// ---- places in kernels ----

const std::byte* module_of(const void* code) {
  Dl_info info;
  return dladdr(code, &info) == 0 ? nullptr : static_cast<const std::byte*>(info.dli_fbase);
}

// "metal/x.metal:12" by binutils' addr2line. Functions of the shim are inlined into kernels: the
// first frame that is not the shim's is the kernel's own line.
std::string place_name(const void* code) {
  Dl_info info;
  if (dladdr(code, &info) == 0) return "?";
  char command[1024];
  // The address of a return is behind the call.
  std::snprintf(command, sizeof(command), "addr2line -i -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
                static_cast<size_t>(static_cast<const std::byte*>(code) -
                                    static_cast<const std::byte*>(info.dli_fbase)) -
                    1);
  std::string place = "?";
  FILE* lines = popen(command, "r");
  if (lines == nullptr) return place;
  char line[1024];
  while (std::fgets(line, sizeof(line), lines) != nullptr) {
    if (std::strstr(line, "metal_stdlib") != nullptr) continue;
    place = line;
    place.erase(place.find_first_of(" \n"));
    if (place.starts_with("./")) place.erase(0, 2);
    break;
  }
  pclose(lines);
  return place;
}

std::string key_of(const char* what, const void* code) {
  return std::string(what) + std::to_string(reinterpret_cast<size_t>(code));
}

// ---- one access ----

unsigned epoch_of(const Epochs& epochs, bool is_threadgroup) {
  return is_threadgroup ? epochs.threadgroup : epochs.device;
}

// Whether nothing orders the earlier access before the present one.
bool unordered(const Access& earlier, bool is_threadgroup) {
  const Thread& thread = *current_thread;
  if (earlier.threadgroup == 0) return false;
  if (earlier.threadgroup != checker().threadgroup) return !is_threadgroup;
  if (earlier.thread == thread.index && earlier.shared == kAlone) return false;
  if (epoch_of(earlier.epochs, is_threadgroup) !=
      epoch_of(current_threadgroup.epochs, is_threadgroup)) {
    return false;
  }
  const bool same_simdgroup =
      earlier.thread / kLanes == thread.index / kLanes && earlier.shared != kAcrossSimdgroups;
  return !same_simdgroup || epoch_of(earlier.simdgroup_epochs, is_threadgroup) ==
                                epoch_of(thread.simdgroup->epochs, is_threadgroup);
}

void report_race(const char* what, const Watched& watched, size_t byte, const Access& earlier,
                 const void* code) {
  if (!is_new_problem(key_of(what, code) + "/" + std::to_string(earlier.place))) return;
  report(std::string("DATA RACE (") + what + ") on byte " + std::to_string(byte) + " of " +
         watched.region.name + ": " + describe(*current_thread) + " at " + place_name(code) +
         " and thread " + std::to_string(earlier.thread) + " of threadgroup number " +
         std::to_string(earlier.threadgroup - 1) + " at " +
         place_name(module_of(code) + earlier.place));
}

// Reads that nothing orders among themselves are one shared read: a write by any thread conflicts.
Access merged(const Access& before, const Access& now, bool is_threadgroup) {
  Access result = now;
  if (before.threadgroup != now.threadgroup ||
      epoch_of(before.epochs, is_threadgroup) != epoch_of(now.epochs, is_threadgroup)) {
    return result;
  }
  if (before.shared == kAcrossSimdgroups || before.thread / kLanes != now.thread / kLanes) {
    result.shared = kAcrossSimdgroups;
  } else if (epoch_of(before.simdgroup_epochs, is_threadgroup) ==
             epoch_of(now.simdgroup_epochs, is_threadgroup)) {
    result.shared = before.thread == now.thread ? before.shared : kWithinSimdgroup;
  }
  return result;
}

void check_byte(const Watched& watched, size_t byte, Cell& cell, const Access& now, bool is_write,
                const void* code) {
  const bool is_threadgroup = watched.region.is_threadgroup;
  const auto races = [&](const Access& earlier) {
    return !(earlier.is_atomic && now.is_atomic) && unordered(earlier, is_threadgroup);
  };
  if (is_write) {
    if (races(cell.write)) report_race("write after write", watched, byte, cell.write, code);
    if (races(cell.read)) report_race("write after read", watched, byte, cell.read, code);
    cell.write = now;
    return;
  }
  if (is_threadgroup && cell.write.threadgroup == 0 &&
      is_new_problem(key_of("uninitialised", code))) {
    report("UNINITIALISED: byte " + std::to_string(byte) + " of " + watched.region.name +
           " is read before it is written, by " + describe(*current_thread) + " at " +
           place_name(code));
  }
  if (races(cell.write)) report_race("read after write", watched, byte, cell.write, code);
  cell.read = merged(cell.read, now, is_threadgroup);
}

// The region that holds all of the access; null when there is none.
Watched* find(const std::byte* address, size_t bytes) {
  for (Watched& watched : checker().regions) {
    const std::byte* begin = watched.region.begin;
    if (address >= begin && address + bytes <= begin + watched.region.bytes) return &watched;
  }
  return nullptr;
}

// ---- memory that a kernel may touch though no argument has it ----

// What is mapped of programs and libraries: constants of kernels, and globals of the rig.
std::vector<MemoryRange> loaded_code() {
  std::vector<MemoryRange> ranges;
  dl_iterate_phdr(
      [](dl_phdr_info* module, size_t, void* target) {
        for (int i = 0; i < module->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = module->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const auto* begin = reinterpret_cast<const std::byte*>(module->dlpi_addr);
          begin += segment.p_vaddr;
          static_cast<std::vector<MemoryRange>*>(target)->push_back(
              {begin, begin + segment.p_memsz});
        }
        return 0;
      },
      &ranges);
  return ranges;
}

bool is_in_loaded_code(const std::byte* address) {
  static auto& ranges = *new std::vector<MemoryRange>;
  const auto known = [&] {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const MemoryRange& range) { return range.has(address); });
  };
  if (known()) return true;
  ranges = loaded_code();  // kernels may have been loaded since
  return known();
}

bool is_own(const std::byte* address) {
  const auto* arguments = reinterpret_cast<const std::byte*>(&machine().arguments);
  return MemoryRange{arguments, arguments + sizeof(Arguments)}.has(address) ||
         is_in_loaded_code(address);
}

void report_out_of_bounds(const std::byte* address, size_t bytes, bool is_write, const void* code) {
  if (!is_new_problem(key_of("bounds", code))) return;
  const Region* nearest = nullptr;
  ptrdiff_t least = PTRDIFF_MAX;
  for (const Watched& watched : checker().regions) {
    const std::byte* begin = watched.region.begin;
    const std::byte* end = begin + watched.region.bytes;
    const ptrdiff_t distance = std::max({begin - address, address - end, ptrdiff_t{0}});
    if (distance < least) nearest = &watched.region;
    least = std::min(least, distance);
  }
  std::string place = " in memory of no argument";
  if (nearest != nullptr) {
    place = " at byte " + std::to_string(address - nearest->begin) + " of " + nearest->name + " (" +
            std::to_string(nearest->bytes) + " bytes)";
  }
  report("OUT OF BOUNDS: " + std::string(is_write ? "write" : "read") + " of " +
         std::to_string(bytes) + " bytes" + place + " by " + describe(*current_thread) + " at " +
         place_name(code));
}

void check(const void* pointer, size_t bytes, bool is_write, const void* code,
           bool is_atomic = false) {
  Checker& c = checker();
  if (!c.active || current_thread == nullptr) return;
  const auto* address = static_cast<const std::byte*>(pointer);
  if (c.fibers.has(address)) return;
  Watched* watched = find(address, bytes);
  if (watched == nullptr) {
    if (!is_own(address)) report_out_of_bounds(address, bytes, is_write, code);
    return;
  }
  const ptrdiff_t offset = address - watched->region.begin;
  Traffic& traffic = watched->traffic;
  (is_write ? traffic.written : traffic.read) += bytes;
  (is_write ? traffic.written_range : traffic.read_range).add(offset, bytes);
  uint64_t& distinct = is_write ? traffic.distinct_written : traffic.distinct_read;
  const uint8_t touch = is_write ? kWritten : kRead;
  for (size_t i = 0; i < bytes; ++i) {
    uint8_t& touched = (*watched->touched)[offset + i];
    if ((touched & touch) == 0) distinct += 1;
    touched |= touch;
  }
  Block& block = c.blocks[watched->block];
  if (block.cells == nullptr) return;
  const Thread& thread = *current_thread;
  if (c.module == nullptr) c.module = module_of(code);
  const Access now{c.threadgroup,
                   static_cast<uint16_t>(thread.index),
                   is_atomic,
                   kAlone,
                   current_threadgroup.epochs,
                   thread.simdgroup->epochs,
                   static_cast<uint32_t>(static_cast<const std::byte*>(code) - c.module)};
  for (size_t i = 0; i < bytes; ++i) {
    check_byte(*watched, offset + i, (*block.cells)[address + i - block.begin], now, is_write,
               code);
  }
}

bool overlap(const Block& a, const Block& b) { return a.begin < b.end && b.begin < a.end; }

}  // namespace

bool instrumented() { return checker().instrumented; }

void begin_checking(const std::vector<Region>& regions) {
  Checker& c = checker();
  if (!c.instrumented) return;
  c.module = nullptr;
  c.fibers = fiber_memory();
  c.regions.clear();
  c.blocks.clear();
  // One block for each memory: regions that overlap, directly or through others, share one.
  std::vector<Block> parts;
  for (const Region& region : regions) {
    parts.push_back({region.begin, region.begin + region.bytes, region.is_threadgroup, nullptr});
  }
  std::sort(parts.begin(), parts.end(),
            [](const Block& a, const Block& b) { return a.begin < b.begin; });
  for (Block& part : parts) {
    if (!c.blocks.empty() && overlap(c.blocks.back(), part)) {
      c.blocks.back().end = std::max(c.blocks.back().end, part.end);
    } else {
      c.blocks.push_back(std::move(part));
    }
  }
  for (const Region& region : regions) {
    size_t i = 0;
    while (region.begin < c.blocks[i].begin || region.begin >= c.blocks[i].end) ++i;
    Block& block = c.blocks[i];
    if (region.is_written && block.cells == nullptr) {
      block.cells = std::make_unique<Shadow<Cell>>(block.end - block.begin);
    }
    c.regions.push_back({region,
                         i,
                         {region.index, region.is_threadgroup},
                         std::make_unique<Shadow<uint8_t>>(region.bytes)});
  }
  c.active = true;
}

void begin_threadgroup(uint32_t number) {
  Checker& c = checker();
  if (!c.active) return;
  c.threadgroup = number + 1;
  for (Block& block : c.blocks) {
    if (block.is_threadgroup) block.cells->clear();
  }
}

std::vector<Traffic> end_checking() {
  Checker& c = checker();
  std::vector<Traffic> result;
  if (!c.active) return result;
  c.active = false;
  for (const Watched& watched : c.regions) {
    result.push_back(watched.traffic);
  }
  c.regions.clear();
  c.blocks.clear();
  return result;
}

void note_atomic(const volatile void* address, unsigned bytes, bool is_write, const void* code) {
  check(const_cast<const void*>(address), bytes, is_write, code, true);
}

}  // namespace software_metal

// What -fsanitize=thread calls before an access.
extern "C" {

#define TSAN_EXPORT SOFTWARE_METAL_EXPORT __attribute__((noinline))
#define TSAN_ACCESS(bytes)                                                     \
  TSAN_EXPORT void __tsan_read##bytes(void* address) {                         \
    software_metal::check(address, bytes, false, __builtin_return_address(0)); \
  }                                                                            \
  TSAN_EXPORT void __tsan_write##bytes(void* address) {                        \
    software_metal::check(address, bytes, true, __builtin_return_address(0));  \
  }                                                                            \
  TSAN_EXPORT void __tsan_unaligned_read##bytes(void* address) {               \
    software_metal::check(address, bytes, false, __builtin_return_address(0)); \
  }                                                                            \
  TSAN_EXPORT void __tsan_unaligned_write##bytes(void* address) {              \
    software_metal::check(address, bytes, true, __builtin_return_address(0));  \
  }
TSAN_ACCESS(1)
TSAN_ACCESS(2)
TSAN_ACCESS(4)
TSAN_ACCESS(8)
TSAN_ACCESS(16)

TSAN_EXPORT void __tsan_init() { software_metal::checker().instrumented = true; }
TSAN_EXPORT void __tsan_func_entry(void*) {}
TSAN_EXPORT void __tsan_func_exit() {}
TSAN_EXPORT void* __tsan_memcpy(void* target, const void* source, size_t bytes) {
  const void* code = __builtin_return_address(0);
  software_metal::check(source, bytes, false, code);
  software_metal::check(target, bytes, true, code);
  return std::memcpy(target, source, bytes);
}
TSAN_EXPORT void* __tsan_memmove(void* target, const void* source, size_t bytes) {
  const void* code = __builtin_return_address(0);
  software_metal::check(source, bytes, false, code);
  software_metal::check(target, bytes, true, code);
  return std::memmove(target, source, bytes);
}
TSAN_EXPORT void* __tsan_memset(void* target, int value, size_t bytes) {
  software_metal::check(target, bytes, true, __builtin_return_address(0));
  return std::memset(target, value, bytes);
}
}
