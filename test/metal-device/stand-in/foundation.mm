// The part of Foundation that the device uses, and what the files of the stand-in share.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "objects.h"

extern "C" id objc_runtime_allocate(Class isa);
extern "C" void objc_runtime_free(id object);

using namespace metal_stand_in;

@implementation NSObject
+ (instancetype)alloc {
  return objc_runtime_allocate(self);
}
+ (instancetype)new {
  return [[self alloc] init];
}
- (instancetype)init {
  return self;
}
- (void)dealloc {
  objc_runtime_free(self);
}
@end

// What @"..." is, as clang lays it out for -fobjc-runtime=gnustep-2.0. The runtime finds flags and
// length, a large number, where it counts references: a literal never dies. Nor is it counted as an
// object that lives.
struct Literal {
  Class isa;
  uint32_t flags, length, bytes, hash;
  const char *text;
};

@interface NSConstantString : NSString
@end
@implementation NSConstantString
- (const char *)UTF8String {
  return reinterpret_cast<const Literal *>(self)->text;
}
@end

NSString *const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";

@implementation NSString
+ (instancetype)stringWithUTF8String:(const char *)text {
  return objc_autorelease(with_state<std::string>([NSString alloc], text));
}
- (const char *)UTF8String {
  return state<std::string>(self).c_str();
}
- (BOOL)isEqualToString:(NSString *)other {
  return std::strcmp(self.UTF8String, other.UTF8String) == 0;
}
@end

@implementation NSError
- (NSString *)domain {
  return [NSString stringWithUTF8String:state<Error>(self).domain.c_str()];
}
- (NSInteger)code {
  return state<Error>(self).code;
}
- (NSString *)localizedDescription {
  return [NSString stringWithUTF8String:state<Error>(self).text.c_str()];
}
@end

namespace metal_stand_in {

Controls &controls() {
  static auto *instance = new Controls;  // never destroyed: the GPU's thread outlives main()
  return *instance;
}

void misuse(const char *format, ...) {
  std::fputs("Metal: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputs("\n", stderr);
  std::abort();
}

bool must_fail(std::atomic<uint64_t> &count) {
  uint64_t left = count;
  while (left > 0 && !count.compare_exchange_weak(left, left - 1)) {
  }
  return left > 0;
}

id make_error(const Error &error) { return with_state<Error>([NSError alloc], error); }

void give(NSError **target, const Error &error) {
  if (target != nullptr) *target = objc_autorelease(make_error(error));
}

}  // namespace metal_stand_in
