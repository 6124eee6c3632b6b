// The part of Foundation that native/metal/metal_device.mm uses: declarations written from public
// documentation, for clang on Linux. headers.test.ts holds them against the source of objc2.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The version of this SDK, whatever that of the C library is (zig's is newer).
#ifndef SDK_VERSION
#define SDK_VERSION 150000
#endif
#ifdef __APPLE__
#include <Availability.h>
#endif
#undef __MAC_OS_X_VERSION_MAX_ALLOWED
#define __MAC_OS_X_VERSION_MAX_ALLOWED SDK_VERSION

#ifdef __arm64__
typedef bool BOOL;
#else
typedef signed char BOOL;
#endif
#define YES __objc_yes
#define NO __objc_no
#define nil nullptr

typedef unsigned long NSUInteger;
typedef long NSInteger;

#define NS_ENUM(type, name) \
  enum name : type name;    \
  enum name : type
#define NS_OPTIONS(type, name) \
  enum name : type name;       \
  enum __attribute__((flag_enum)) name : type
#define SDK_SINCE(version) __attribute__((availability(macos, introduced = version)))
#define NS_ASSUME_NONNULL_BEGIN _Pragma("clang assume_nonnull begin")
#define NS_ASSUME_NONNULL_END _Pragma("clang assume_nonnull end")

NS_ASSUME_NONNULL_BEGIN

@protocol NSObject
@end

__attribute__((objc_root_class))
@interface NSObject<NSObject> {
  Class isa;
}
+ (instancetype)alloc;
+ (instancetype)new;
- (instancetype)init;
- (void)dealloc;
@end

@interface NSString : NSObject
+ (nullable instancetype)stringWithUTF8String:(const char *)text;
- (BOOL)isEqualToString:(NSString *)other;
@property(nullable, readonly) const char *UTF8String __attribute__((objc_returns_inner_pointer));
@end

@interface NSError : NSObject
@property(readonly, copy) NSString *domain;
@property(readonly) NSInteger code;
@property(readonly, copy) NSString *localizedDescription;
@end

NS_ASSUME_NONNULL_END
