// What a running kernel knows of the rig: its thread, and how to wait for others. Included by the
// shim, hence by every kernel, so it includes nothing.
#pragma once

#define SOFTWARE_METAL_EXPORT __attribute__((visibility("default")))
// What the rig itself does in the name of a kernel: a function of its own in the checked build, and
// outside of its checks.
#define SOFTWARE_METAL_UNCHECKED __attribute__((noinline, disable_sanitizer_instrumentation))

namespace software_metal {

inline constexpr unsigned kLanes = 32;  // threads of a simdgroup
inline constexpr unsigned kMaxBuffers = 31;
inline constexpr unsigned kMaxThreadgroupArguments = 8;

// Where a kernel waits.
struct Site {
  const char* operation;
  const char* file;
  int line;
};

struct alignas(64) Slot {
  unsigned char bytes[64];
};

// Barriers passed, by the memory that they order: accesses on two sides of one are ordered.
struct Epochs {
  unsigned device, threadgroup;

  void pass(unsigned flags) {  // mem_flags
    device += flags & 1u;
    threadgroup += flags >> 1 & 1u;
  }
};

// Lanes publish what they exchange in `slots`. There are two sets, used in turn, so that a fast
// lane may already publish for the next operation while a slow one still reads.
struct Simdgroup {
  Slot slots[2][kLanes];
  unsigned turn;          // operations done
  Slot reduced;           // what the first lane to ask found for all of them,
  float product[8][8];    // the same for a product of matrices
  unsigned reduced_turn;  // and of which operation
  unsigned arrived;       // bit mask of the lanes that took part in the last one
  unsigned lanes;         // that exist
  Epochs epochs;          // simdgroup barriers passed
};

enum class ThreadState : unsigned char { kReady, kAtSimdgroup, kAtThreadgroup, kDone, kFaulted };

struct Thread {
  void* stack_pointer;  // while it waits
  Simdgroup* simdgroup;
  ThreadState state;
  Site site;       // where it waits
  unsigned flags;  // mem_flags of the barrier that it waits at, 0 at other operations
  unsigned index;  // in its threadgroup
  unsigned lane;
  unsigned position_in_grid[3], position_in_threadgroup[3];
};

struct Threadgroup {
  unsigned position_in_grid[3];
  unsigned threads[3];       // of each threadgroup
  unsigned threadgroups[3];  // of the grid
  unsigned grid[3];          // threads of the grid
  unsigned simdgroups;
  Epochs epochs;  // threadgroup barriers passed
};

struct Arguments {
  void* buffers[kMaxBuffers];
  void* threadgroup_memory[kMaxThreadgroupArguments];
};

// One dispatch runs at a time, on one thread of the system, so these are plain globals.
SOFTWARE_METAL_EXPORT extern Thread* current_thread;  // null outside of kernels
SOFTWARE_METAL_EXPORT extern Threadgroup current_threadgroup;

SOFTWARE_METAL_EXPORT void wait_for_simdgroup(Site site);
SOFTWARE_METAL_EXPORT void wait_at_simdgroup_barrier(Site site, unsigned flags);
SOFTWARE_METAL_EXPORT void wait_at_threadgroup_barrier(Site site, unsigned flags);
// Tells the checker of an access by an atomic operation at `code`, which races with no other one.
SOFTWARE_METAL_EXPORT void note_atomic(const volatile void* address, unsigned bytes, bool written,
                                       const void* code);

// What a kernel file says about its kernels (compile-kernels.mjs writes these tables).
struct ConstantInfo {
  const char* name;
  void* address;
  unsigned bytes;
};

struct ArgumentInfo {
  bool is_threadgroup;  // [[threadgroup(index)]], else [[buffer(index)]]
  unsigned index;
  const char* name;
  bool is_written;      // the pointer is not to const
  unsigned bytes;       // of a struct taken by reference, else 0
  const char* only_if;  // the constant without which it is absent, or null
  unsigned alignment;   // that its type needs
};

struct KernelInfo {
  const char* name;
  void (*call)(const Arguments&);
  const ArgumentInfo* arguments;
  unsigned argument_count;
  const ConstantInfo* constants;  // of its file
  unsigned constant_count;
};

// A later registration of the same name in another module replaces an earlier one.
struct SOFTWARE_METAL_EXPORT KernelRegistration {
  explicit KernelRegistration(const KernelInfo& kernel);
};

// The parameter types of a kernel, as C++ sees them.
template <class Function>
struct Parameters;
template <class... P>
struct Parameters<void (*)(P...)> {
  template <int i>
  using At = __type_pack_element<i, P...>;
};

template <class P>
struct Argument;
template <class T>
struct Argument<T*> {
  static constexpr bool kWritten = !__is_const(T);
  static constexpr unsigned kBytes = 0;
  static constexpr unsigned kAlignment = alignof(T);
  static T* from(void* address) { return static_cast<T*>(address); }
};
template <class T>
struct Argument<T&> {
  static constexpr bool kWritten = !__is_const(T);
  static constexpr unsigned kBytes = sizeof(T);
  static constexpr unsigned kAlignment = alignof(T);
  static T& from(void* address) { return *static_cast<T*>(address); }
};

}  // namespace software_metal
