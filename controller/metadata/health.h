// What in an image is not as it should be, for people.
#pragma once

#include <vector>

#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "sluice/v1/cluster.pb.h"

namespace sluice {

inline constexpr size_t kHealthIssuesMax = 1000;

// Worst first: no leader, under min ISR, elected unclean, under-replicated,
// fenced brokers. Each message tells the facts, why, and the next step. A
// partition has one issue, its worst, one for each replica that failed, and one
// while its leader is of an unclean election: until another leads. At most
// kHealthIssuesMax; the last message then says how many more there are.
std::vector<v1::HealthIssue> HealthIssuesOf(const MetadataImage& image,
                                            const ConfigRegistry& configs);

}  // namespace sluice
