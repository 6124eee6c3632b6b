// What is said of memory that a run left half written.
#pragma once

namespace ssm {

inline constexpr const char* kMixture =
    "a run that the device did not end may have left this memory half written: write all of it "
    "before it is read again";

}  // namespace ssm
