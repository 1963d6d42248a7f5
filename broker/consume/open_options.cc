#include "broker/consume/open_options.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice::consume {
namespace {

absl::Status Invalid(std::string_view what) {
  return MakeError(ErrorCode::kInvalidRequest, "the first message: ", what);
}

absl::Status CheckTexts(const v1::ConsumeOpen& open) {
  if (open.topics().empty() || open.topics_size() > kTopicsMax) {
    return Invalid(StrCat(open.topics_size(), " topics; at least 1, at most ",
                          kTopicsMax));
  }
  const std::pair<const char*, const std::string&> texts[] = {
      {"client_id", open.client_id()},
      {"group_instance_id", open.group_instance_id()},
      {"rack", open.rack()}};
  for (const auto& [name, text] : texts) {
    if (text.size() <= kTextBytesMax) continue;
    return Invalid(StrCat(name, " of ", text.size(), " bytes; at most ",
                          kTextBytesMax));
  }
  for (const std::string& topic : open.topics()) {
    if (!topic.empty() && topic.size() <= kTextBytesMax) continue;
    return Invalid(StrCat("a topic's name of ", topic.size(),
                          " bytes; it has 1 to ", kTextBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckTopics(const v1::ConsumeOpen& open) {
  std::set<std::string_view> names;
  for (const std::string& topic : open.topics()) {
    if (names.insert(topic).second) continue;
    return Invalid(StrCat("topic '", topic, "' is there twice; once is enough"));
  }
  return absl::OkStatus();
}

// Whoever says how far back means RESET_DURATION.
absl::Status CheckReset(const v1::ConsumeOpen& open) {
  const int64_t back_ms = open.reset_duration_ms();
  const bool by_age = open.reset() == v1::ConsumeOpen::RESET_DURATION;
  if (by_age != (back_ms > 0)) {
    return Invalid(by_age ? "RESET_DURATION without reset_duration_ms; say how "
                            "far back"
                          : StrCat("reset_duration_ms ", back_ms,
                                   " without RESET_DURATION; set both, or "
                                   "neither"));
  }
  if (back_ms <= kResetBackMaxMs) return absl::OkStatus();
  return Invalid(StrCat("reset_duration_ms ", back_ms, "; the most is ",
                        kResetBackMaxMs,
                        " (a hundred years); RESET_EARLIEST is from the start"));
}

absl::Status CheckNumbers(const v1::ConsumeOpen& open) {
  const std::pair<const char*, int64_t> numbers[] = {
      {"session_timeout_ms", open.session_timeout_ms()},
      {"rebalance_timeout_ms", open.rebalance_timeout_ms()},
      {"max_poll_interval_ms", open.max_poll_interval_ms()},
      {"reset_duration_ms", open.reset_duration_ms()}};
  for (const auto& [name, number] : numbers) {
    if (number >= 0) continue;
    return Invalid(StrCat(name, " ", number, " is negative"));
  }
  if (!v1::ConsumeOpen::AckMode_IsValid(open.ack_mode())) {
    return Invalid(StrCat("ack_mode ", static_cast<int>(open.ack_mode()),
                          " is not known"));
  }
  if (!v1::ConsumeOpen::Reset_IsValid(open.reset())) {
    return Invalid(StrCat("reset ", static_cast<int>(open.reset()),
                          " is not known"));
  }
  if (!v1::Isolation_IsValid(open.isolation()) ||
      !v1::PayloadForm_IsValid(open.form())) {
    return Invalid(StrCat("isolation ", static_cast<int>(open.isolation()),
                          " or form ", static_cast<int>(open.form()),
                          " is not known"));
  }
  return absl::OkStatus();
}

absl::Status TakeAssignors(const v1::ConsumeOpen& open,
                           membership::Options& out) {
  out.assignors.clear();
  for (const std::string& name : open.assignors()) {
    const auto assignor = consumer::AssignorFromName(name);
    if (!assignor.has_value() ||
        std::count(out.assignors.begin(), out.assignors.end(), *assignor) > 0) {
      return Invalid(StrCat(
          "assignor '", name.substr(0, kTextBytesMax),
          "' is not known, or there twice; use range, roundrobin, sticky or "
          "cooperative-sticky"));
    }
    out.assignors.push_back(*assignor);
  }
  if (out.assignors.empty()) {
    out.assignors = {consumer::Assignor::kCooperativeSticky};
  }
  return absl::OkStatus();
}

absl::Status TakeToken(const v1::ConsumeOpen& open, OpenOptions& out) {
  if (open.resume_token().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(ResumeToken token, DecodeResumeToken(open.resume_token()));
  if (token.group != open.group_id()) {
    return Invalid(StrCat("resume_token is of group '", token.group,
                          "', group_id is '", open.group_id(), "'"));
  }
  out.membership.resumes_member_id = token.member_id;
  out.membership.resumes_stream = token.stream;
  out.membership.resumes_changed = token.subscription != out.digest();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OpenOptions> OpenOptionsFrom(const v1::ConsumeOpen& open) {
  RETURN_IF_ERROR(CheckTexts(open));
  RETURN_IF_ERROR(CheckTopics(open));
  RETURN_IF_ERROR(CheckNumbers(open));
  RETURN_IF_ERROR(CheckReset(open));
  OpenOptions out;
  membership::Options& member = out.membership;
  member.group_id = open.group_id();
  member.instance_id = open.group_instance_id();
  member.client_id = open.client_id();
  member.rack = open.rack();
  member.session_timeout_ms = open.session_timeout_ms() > 0
                                  ? open.session_timeout_ms()
                                  : kSessionTimeoutDefaultMs;
  member.heartbeat_interval_ms =
      std::min(kHeartbeatIntervalMs, std::max(1, member.session_timeout_ms / 3));
  member.max_poll_interval_ms = open.max_poll_interval_ms() > 0
                                    ? open.max_poll_interval_ms()
                                    : kMaxPollIntervalDefaultMs;
  member.rebalance_timeout_ms = open.rebalance_timeout_ms() > 0
                                    ? open.rebalance_timeout_ms()
                                    : member.max_poll_interval_ms;
  RETURN_IF_ERROR(TakeAssignors(open, member));
  out.topics.insert(open.topics().begin(), open.topics().end());
  if (open.ack_mode() == v1::ConsumeOpen::ACK_MODE_AUTO) {
    out.ack_mode = AckLedger::Mode::kAuto;
  }
  if (open.reset() != v1::ConsumeOpen::RESET_UNSPECIFIED) {
    out.reset = open.reset();
  }
  out.reset_back_ms = open.reset_duration_ms();
  out.start_by_seek = open.start_by_seek();
  if (open.isolation() == v1::ISOLATION_READ_COMMITTED) {
    out.isolation = api::Isolation::kReadCommitted;
  }
  if (open.form() == v1::PAYLOAD_FORM_BATCHES) {
    out.form = api::PayloadForm::kBatches;
  }
  RETURN_IF_ERROR(TakeToken(open, out));
  return out;
}

}  // namespace sluice::consume
