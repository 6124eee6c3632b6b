// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#define assert(condition) ((void)0)
