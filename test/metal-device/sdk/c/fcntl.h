// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#define O_RDONLY 0
#define O_CLOEXEC 0x01000000

extern "C" int open(const char*, int, ...);
