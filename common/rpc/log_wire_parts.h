// The parts that the requests and answers of LogService share.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "sluice/v1/common.pb.h"
#include "sluice/v1/log.pb.h"

namespace sluice::rpc {

// INVALID_REQUEST: an id that is not 16 bytes or all zero. Neither name nor
// id: an empty reference, which the handlers refuse by partition.
absl::StatusOr<api::TopicRef> TopicRefFromProto(const v1::TopicRef& ref);
void TopicRefToProto(const api::TopicRef& ref, v1::TopicRef* out);

std::optional<api::LeaderHint> LeaderHintFromProto(const v1::LeaderHint& hint);
void LeaderHintToProto(const api::LeaderHint& hint, v1::LeaderHint* out);

EpochEnd EpochEndFromProto(const v1::EpochEnd& end);
void EpochEndToProto(const EpochEnd& end, v1::EpochEnd* out);

std::vector<api::Record> RecordsFromProto(v1::RecordList list);
// Moves the strings out.
void RecordsToProto(std::vector<api::Record> records, v1::RecordList* out);

absl::StatusOr<api::Isolation> IsolationFromProto(v1::Isolation isolation);
v1::Isolation IsolationToProto(api::Isolation isolation);
absl::StatusOr<api::PayloadForm> PayloadFormFromProto(v1::PayloadForm form);
v1::PayloadForm PayloadFormToProto(api::PayloadForm form);
absl::StatusOr<api::Route> RouteFromProto(v1::Route route);
v1::Route RouteToProto(api::Route route);

// Topic and error of a result, as every result message has them.
template <class Message>
absl::Status ResultHeadFromProto(const Message& message, api::TopicRef& topic,
                                 PartitionIndex& partition,
                                 api::ItemError& error,
                                 std::optional<api::LeaderHint>& leader);
template <class Message>
void ResultHeadToProto(const api::TopicRef& topic, PartitionIndex partition,
                       const api::ItemError& error,
                       const std::optional<api::LeaderHint>& leader,
                       Message* message);

}  // namespace sluice::rpc
