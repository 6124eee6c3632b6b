// Apple's headers, and what every file that speaks to Metal shares. Objective-C++, compiled with
// ARC.
#pragma once

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <string>

#if __MAC_OS_X_VERSION_MAX_ALLOWED < 140000
#error \
    "ssm-metal needs the SDK of macOS 14: install Xcode 15 or its command line tools, or newer ones"
#endif

// What macOS 15 added also needs the SDK that declares it.
#if __MAC_OS_X_VERSION_MAX_ALLOWED >= 150000
#define SSM_MACOS_15_SDK 1
#endif

namespace ssm::apple {

inline std::string text_of(NSString* string) { return string == nil ? "" : string.UTF8String; }

inline std::string text_of(NSError* error) {
  return error == nil ? "no reason given" : text_of(error.localizedDescription);
}

inline NSString* string_of(const std::string& text) {
  return [NSString stringWithUTF8String:text.c_str()];
}

}  // namespace ssm::apple
