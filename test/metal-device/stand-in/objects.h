// What the objects of the stand-in hold, and what its files share. Not ARC.
#pragma once

#import <Metal/Metal.h>

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "execution.h"
#include "kernel_context.h"
#include "metal_stand_in.h"
#include "objc_runtime.h"

namespace metal_stand_in {

using objc_runtime::state;
using objc_runtime::with_state;

constexpr size_t kThreadgroupMemory = 32 * 1024;
constexpr NSUInteger kMostBuffers = 31;
constexpr int kMostCommandBuffers = 64;  // of a queue, not yet completed: what newCommandQueue sets

// Ends the process with a message: what Metal leaves undefined, or says only with validation.
[[noreturn]] [[gnu::format(printf, 1, 2)]] void misuse(const char *format, ...);

// Whether this is one of the next few, which must fail or be spared.
bool must_fail(std::atomic<uint64_t> &count);

// ---- errors ----

// The domains and codes of Apple's headers.
constexpr const char *kCommandBufferErrors = "MTLCommandBufferErrorDomain";
constexpr const char *kSystemErrors = "NSPOSIXErrorDomain";
constexpr const char *kLibraryErrors = "MTLLibraryErrorDomain";
enum CommandBufferError { kInternal = 1, kTimeout, kPageFault, kAccessRevoked, kOutOfMemory = 8 };
enum LibraryError { kCompileFailure = 3 };

struct Error {
  std::string domain;
  NSInteger code = 0;
  std::string text;
};

id make_error(const Error &error);  // an NSError, owned by the caller
void give(NSError **target, const Error &error);

// ---- objects ----

struct Buffer {
  std::byte *begin;
  size_t length;
  void (^release)(void *, NSUInteger);
};

// A kernel with its constants; a pipeline is the same, made ready.
struct Kernel {
  const software_metal::KernelInfo *info;
  std::vector<ssm::metal::Constant> constants;
  NSUInteger max_threads = 0;
  bool is_promised_whole = false;  // threadgroups have whole simdgroups
};

// What a command buffer does to a buffer.
struct Use {
  bool is_read = false, is_written = false;
};

struct CommandBuffer {
  CommandBuffer(id from, bool retains);
  ~CommandBuffer();
  CommandBuffer(const CommandBuffer &) = delete;
  CommandBuffer &operator=(const CommandBuffer &) = delete;

  // Notes that the GPU will use an object, until `release_objects`.
  void use(id object);
  // Called when the GPU has done with it.
  void release_objects();

  id queue;
  const bool retains_references;
  bool is_encoding = false, is_committed = false, is_open = true;  // open: counted by its queue
  std::vector<Command> commands;
  std::map<id, Use> uses;        // of buffers
  std::set<id> objects;          // buffers and pipelines
  std::vector<void *> handlers;  // blocks
  MTLCommandBufferStatus status = MTLCommandBufferStatus(0);
  id error = nil;
};

struct Queue {
  explicit Queue(std::shared_ptr<const Options> given) : options(std::move(given)) {}

  const std::shared_ptr<const Options> options;
  std::mutex mutex;
  std::condition_variable closed;
  int open_command_buffers = 0;
  std::vector<id> sets;                    // of residency
  std::vector<CommandBuffer *> in_flight;  // committed and not completed
};

struct ResidencySet {
  std::mutex mutex;
  std::set<id> members, committed;
};

// Fails when the GPU still uses an object that is about to go.
void check_unused(id object, const char *what);

// ---- functions of one class that another one calls ----

id make_buffer(void *pointer, NSUInteger length, MTLResourceOptions options,
               void (^release)(void *, NSUInteger));
id make_library(NSString *source, MTLCompileOptions *options, NSError **error);
id make_pipeline(MTLComputePipelineDescriptor *descriptor, NSError **error);
id make_residency_set();
id make_encoder(id command_buffer);
id make_queue();

// ---- the GPU ----

// Takes over a reference. Runs after what was pushed before.
void push_to_gpu(id command_buffer);

}  // namespace metal_stand_in
