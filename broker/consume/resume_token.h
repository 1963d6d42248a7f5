// What a client keeps to go on as the same member, at any broker.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/consumer/assignors.h"

namespace sluice::consume {

// Opaque to clients. The coordinator knows `stream` as the secret of the stream
// that acts for the member, and gives the membership over to who names it.
struct ResumeToken {
  std::string group;
  std::string member_id;
  std::string stream;
  int32_t generation = -1;  // for a log line: what counts is the coordinator's
  uint32_t subscription = 0;  // SubscriptionDigest of that stream

  bool operator==(const ResumeToken&) const = default;
};

inline constexpr size_t kTokenBytesMax = 2'048;

std::string EncodeResumeToken(const ResumeToken& token);
// INVALID_REQUEST: no token of this version.
absl::StatusOr<ResumeToken> DecodeResumeToken(std::string_view bytes);

// Differs where a member that goes on has to join anew.
uint32_t SubscriptionDigest(const std::set<std::string>& topics,
                            const std::vector<consumer::Assignor>& assignors);

}  // namespace sluice::consume
