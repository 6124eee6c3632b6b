// How an operation states itself, once, in its header metal/<operation>.h: the parameter struct,
// and below it
//
//   SSM_OPERATION(RmsNormParams, reads(x), reads(weight), writes(out));
//
// with its buffers in the order in which kernels and plain loops number them, by the names that
// the recorder of lib/ gives them. Compilers see nothing of it. scripts/operations.mjs reads it
// whenever the addon is built, and native code and JavaScript have it from there
// (native/operation.h, lib/operations/table.ts).
//
//   reads(x)            all of it is read
//   looks_up(x)         some of its rows are read
//   reads_slots(x)      (slots, ...): the parts of the rows' slots are read
//   reads_pages(x)      (pages, ...): pages that the rows' sequences have are read
//   writes(x)           all of it is written, nothing of it is read
//   updates_slots(x)    (slots, ...): parts of the rows' slots are written, or read and written
//   updates_pages(x)    (pages, ...): pages of the rows' sequences are written, or read and written
//
// With `, optional` behind the name it may be absent. An operation on slots has the fields `batch`
// and `slots`.
#pragma once
#include "metal/types.h"

#define SSM_OPERATION(...) static_assert(true, "read by scripts/operations.mjs")
