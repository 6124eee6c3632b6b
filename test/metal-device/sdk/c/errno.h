// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#define EINTR 4
#define EAGAIN 35
#define ETIMEDOUT 60
extern "C" int* __error(void);
#define errno (*__error())
