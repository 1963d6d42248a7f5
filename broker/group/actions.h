// What a group core wants done, in the order given.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "broker/group/group_types.h"
#include "common/base/error.h"

namespace sluice::group {

// ---- Answers: one for each request. With an error only `member` counts ----

struct JoinedMember {
  MemberId id;
  InstanceId instance;
  std::string metadata;  // of the protocol chosen

  bool operator==(const JoinedMember&) const = default;
};

struct AnswerJoin {
  RequestId request;
  ErrorCode code = ErrorCode::kNone;
  MemberId member;  // with ErrorCode::kMemberIdRequired: the id to come again with
  Generation generation = kNoGeneration;
  std::string protocol_type;
  std::string protocol_name;
  MemberId leader;
  bool skip_assignment = false;
  // The leader's answer: all of them. Of a member that another process or
  // stream was before: that one alone, as the generation was made with it.
  std::vector<JoinedMember> members;
  std::string why;  // of an error, where its name does not say it all

  bool operator==(const AnswerJoin&) const = default;
};

struct AnswerSync {
  RequestId request;
  ErrorCode code = ErrorCode::kNone;
  Generation generation = kNoGeneration;
  std::string protocol_type;
  std::string protocol_name;
  std::string assignment;
  std::string why;  // as of AnswerJoin

  bool operator==(const AnswerSync&) const = default;
};

struct AnswerHeartbeat {
  RequestId request;
  ErrorCode code = ErrorCode::kNone;

  bool operator==(const AnswerHeartbeat&) const = default;
};

struct LeftMember {
  MemberId member;
  InstanceId instance;
  ErrorCode code = ErrorCode::kNone;

  bool operator==(const LeftMember&) const = default;
};

struct AnswerLeave {
  RequestId request;
  ErrorCode code = ErrorCode::kNone;
  std::vector<LeftMember> members;  // in the order asked

  bool operator==(const AnswerLeave&) const = default;
};

struct AnswerDelete {
  RequestId request;
  ErrorCode code = ErrorCode::kNone;

  bool operator==(const AnswerDelete&) const = default;
};

// ---- To the group's log. Answered by Written ----

// nullopt: the group is gone, with its offsets.
struct WriteGroup {
  WriteId write;
  std::optional<GroupImage> image;
};

// ---- For a log line and counters ----

struct RebalanceBegan {
  Generation generation;  // the one that ends
  std::string why;
};

struct GenerationStable {
  Generation generation;
  size_t members;
};

struct MemberRemoved {
  MemberId member;
  std::string why;
};

using Action =
    std::variant<AnswerJoin, AnswerSync, AnswerHeartbeat, AnswerLeave,
                 AnswerDelete, WriteGroup, RebalanceBegan, GenerationStable,
                 MemberRemoved>;

}  // namespace sluice::group
