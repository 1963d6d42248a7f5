#pragma once

namespace sluice {

// What `sluiced --version`, `sluice --version` and DescribeCluster tell.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace sluice
