// LogService's messages with arbitrary bytes, requests of any client and
// answers of any broker (common/rpc/log_wire.h), and typed records on their
// way into batches and out of them (broker/handlers).
//
// Property: bytes that protobuf takes are decoded or refused with
// INVALID_REQUEST. What was decoded is put on the wire and decoded again as
// the same message. Typed records of a request become batches that a leader
// finds valid, or refuses for a timestamp or a size, and that decode as the
// same number of records. Bytes read from a log become records within the
// budget, or an error of that partition.
//
// Input: which message, then its bytes.
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "broker/handlers/record_decoding.h"
#include "broker/handlers/typed_records.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/slice_writer.h"
#include "storage/batch_header.h"
#include "storage/batch_validation.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr int64_t kBatchBytes = 512;
constexpr int64_t kDecodedBytesMax = 4096;

// What a receiver makes of what is sent.
template <class Message>
Message Received(grpc::ByteBuffer sent) {
  Message message;
  INVARIANT(rpc::ParseMessage(&sent, &message), "no ",
            message.GetTypeName(), " arrives");
  return message;
}

template <class T>
const T& Promised(const absl::StatusOr<T>& decoded) {
  INVARIANT(decoded.ok(), "decoded, then: ", decoded.status().ToString());
  return *decoded;
}

template <class T>
bool Refused(const absl::StatusOr<T>& decoded) {
  if (decoded.ok()) return false;
  INVARIANT(CodeOf(decoded.status()) == ErrorCode::kInvalidRequest,
            "not promised: ", decoded.status().ToString());
  return true;
}

template <class Message>
void CheckSame(const Message& first, const Message& second) {
  INVARIANT(first.SerializeAsString() == second.SerializeAsString(),
            "sent twice, differs: ", first.ShortDebugString(), " and ",
            second.ShortDebugString());
}

// ---- Typed records ----

void CheckEncoding(const std::vector<api::Record>& records) {
  KeylessRotation rotation;
  size_t picked = 0;
  for (const PickedRecords& some :
       PickPartitions(records, TopicId(Uuid(1, 1)), 3, rotation)) {
    INVARIANT(some.partition.value() >= 0 && some.partition.value() < 3,
              "partition ", some.partition, " of 3");
    picked += some.indexes.size();
  }
  INVARIANT(picked == records.size(), picked, " records of ", records.size(),
            " have a partition");
  std::vector<int32_t> all(records.size());
  std::iota(all.begin(), all.end(), 0);
  auto batches = EncodeRecords(records, all, kBatchBytes, kNowMs);
  if (!batches.ok()) {
    INVARIANT(CodeOf(batches.status()) == ErrorCode::kInvalidRecord &&
                  records.empty(),
              batches.status().ToString());
    return;
  }
  ProduceLimits limits;
  limits.now_ms = kNowMs;
  const auto facts = ValidateProduced(batches->view(), limits);
  if (!facts.ok()) {
    INVARIANT(CodeOf(facts.status()) == ErrorCode::kInvalidTimestamp,
              "our own batch: ", facts.status().ToString());
    return;
  }
  INVARIANT(facts->record_count == static_cast<int64_t>(records.size()),
            facts->record_count, " records of ", records.size());
  const auto next = AssignOffsets(*batches, Offset(5), LeaderEpoch(1));
  INVARIANT(next.ok(), next.status().ToString());
  const auto decoded =
      DecodeRecords({std::move(*batches).Publish()}, Offset(5),
                    std::numeric_limits<int64_t>::max());
  INVARIANT(decoded.ok() && decoded->records.size() == records.size(),
            decoded.status().ToString(), " ", records.size());
}

void CheckDecoding(std::string bytes) {
  const Offset from(3);
  api::FetchResult result;
  result.next_offset = Offset(1000);
  result.batches.push_back(Buffer::Take(std::move(bytes)));
  const int64_t used = DecodeInto(result, from, kDecodedBytesMax);
  if (!result.error.ok()) {
    INVARIANT(result.error.code == ErrorCode::kCorruptMessage &&
                  result.records.empty(),
              "not promised: ", result.error.message);
    return;
  }
  INVARIANT(used <= kDecodedBytesMax || result.records.size() == 1, used,
            " bytes in ", result.records.size(), " records");
  for (const api::Record& record : result.records) {
    INVARIANT(record.offset >= from, "record at ", record.offset);
  }
}

// ---- Messages ----

void OnProduce(const v1::ProduceRequest& message) {
  auto request = rpc::ProduceRequestFromProto(message);
  if (Refused(request)) return;
  for (const api::ProducePartition& partition : request->partitions) {
    if (const auto* records =
            std::get_if<std::vector<api::Record>>(&partition.payload)) {
      CheckEncoding(*records);
    }
  }
  const auto once = Received<v1::ProduceRequest>(
      rpc::EncodeProduceRequest(*std::move(request), "me"));
  auto again = rpc::ProduceRequestFromProto(once);
  (void)Promised(again);
  CheckSame(once, Received<v1::ProduceRequest>(
                      rpc::EncodeProduceRequest(*std::move(again), "me")));
}

void OnProduceStream(const v1::ProduceStreamRequest& message) {
  auto request = rpc::ProduceStreamRequestFromProto(message);
  if (Refused(request)) return;
  INVARIANT(request->correlation_id == message.correlation_id(),
            "a request lost its number");
  const auto once = Received<v1::ProduceStreamRequest>(
      rpc::EncodeProduceStreamRequest(*std::move(request), "me"));
  auto again = rpc::ProduceStreamRequestFromProto(once);
  (void)Promised(again);
  CheckSame(once, Received<v1::ProduceStreamRequest>(
                      rpc::EncodeProduceStreamRequest(*std::move(again),
                                                      "me")));
}

void OnFetch(const v1::FetchRequest& message) {
  const auto request = rpc::FetchRequestFromProto(message);
  if (Refused(request)) return;
  const auto once = Received<v1::FetchRequest>(
      rpc::EncodeFetchRequest(*request, "me"));
  CheckSame(once, Received<v1::FetchRequest>(rpc::EncodeFetchRequest(
                      Promised(rpc::FetchRequestFromProto(once)), "me")));
}

void OnListOffsets(const v1::ListOffsetsRequest& message) {
  const auto request = rpc::ListOffsetsRequestFromProto(message);
  if (Refused(request)) return;
  const auto once = Received<v1::ListOffsetsRequest>(
      rpc::EncodeListOffsetsRequest(*request));
  CheckSame(once, Received<v1::ListOffsetsRequest>(
                      rpc::EncodeListOffsetsRequest(Promised(
                          rpc::ListOffsetsRequestFromProto(once)))));
}

void OnSubscribe(const v1::SubscribeRequest& message) {
  const auto request = rpc::SubscribeRequestFromProto(message);
  if (Refused(request)) return;
  INVARIANT(request->partitions.size() ==
                    static_cast<size_t>(message.partitions_size()) &&
                request->stop.size() ==
                    static_cast<size_t>(message.stop_size()),
            "partitions went missing");
}

void OnProduceAnswer(const v1::ProduceResponse& message) {
  const auto response = rpc::ProduceResponseFromProto(message);
  if (Refused(response)) return;
  const auto once =
      Received<v1::ProduceResponse>(rpc::EncodeProduceResponse(*response));
  CheckSame(once, Received<v1::ProduceResponse>(rpc::EncodeProduceResponse(
                      Promised(rpc::ProduceResponseFromProto(once)))));
}

void OnProduceStreamAnswer(const v1::ProduceStreamResponse& message) {
  const auto response = rpc::ProduceStreamResponseFromProto(message);
  if (Refused(response)) return;
  const auto once = Received<v1::ProduceStreamResponse>(
      rpc::EncodeProduceStreamResponse(*response));
  CheckSame(once, Received<v1::ProduceStreamResponse>(
                      rpc::EncodeProduceStreamResponse(Promised(
                          rpc::ProduceStreamResponseFromProto(once)))));
}

void OnFetchAnswer(const v1::FetchResponse& message) {
  const auto response = rpc::FetchResponseFromProto(message);
  if (Refused(response)) return;
  const auto once =
      Received<v1::FetchResponse>(rpc::EncodeFetchResponse(*response));
  CheckSame(once, Received<v1::FetchResponse>(rpc::EncodeFetchResponse(
                      Promised(rpc::FetchResponseFromProto(once)))));
}

void OnListOffsetsAnswer(const v1::ListOffsetsResponse& message) {
  const auto response = rpc::ListOffsetsResponseFromProto(message);
  if (Refused(response)) return;
  const auto once = Received<v1::ListOffsetsResponse>(
      rpc::EncodeListOffsetsResponse(*response));
  CheckSame(once, Received<v1::ListOffsetsResponse>(
                      rpc::EncodeListOffsetsResponse(Promised(
                          rpc::ListOffsetsResponseFromProto(once)))));
}

void OnDeleteRecords(const v1::DeleteRecordsRequest& message) {
  const auto request = rpc::DeleteRecordsRequestFromProto(message);
  if (Refused(request)) return;
  const auto once = Received<v1::DeleteRecordsRequest>(
      rpc::EncodeDeleteRecordsRequest(*request));
  CheckSame(once, Received<v1::DeleteRecordsRequest>(
                      rpc::EncodeDeleteRecordsRequest(Promised(
                          rpc::DeleteRecordsRequestFromProto(once)))));
}

void OnDeleteRecordsAnswer(const v1::DeleteRecordsResponse& message) {
  const auto response = rpc::DeleteRecordsResponseFromProto(message);
  if (Refused(response)) return;
  const auto once = Received<v1::DeleteRecordsResponse>(
      rpc::EncodeDeleteRecordsResponse(*response));
  CheckSame(once, Received<v1::DeleteRecordsResponse>(
                      rpc::EncodeDeleteRecordsResponse(Promised(
                          rpc::DeleteRecordsResponseFromProto(once)))));
}

void OnOffsetForLeaderEpoch(const v1::OffsetForLeaderEpochRequest& message) {
  const auto request = rpc::OffsetForLeaderEpochRequestFromProto(message);
  if (Refused(request)) return;
  INVARIANT(request->partitions.size() ==
                static_cast<size_t>(message.partitions_size()),
            "partitions went missing");
}

template <class Message>
void With(std::string_view bytes, void (*check)(const Message&)) {
  Message message;
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    check(message);
  }
}

void Check(uint8_t kind, std::string_view bytes) {
  switch (kind) {
    case 0: return With<v1::ProduceRequest>(bytes, &OnProduce);
    case 1: return With<v1::FetchRequest>(bytes, &OnFetch);
    case 2: return With<v1::ListOffsetsRequest>(bytes, &OnListOffsets);
    case 3: return With<v1::SubscribeRequest>(bytes, &OnSubscribe);
    case 4: return With<v1::ProduceResponse>(bytes, &OnProduceAnswer);
    case 5: return With<v1::FetchResponse>(bytes, &OnFetchAnswer);
    case 6: return With<v1::ListOffsetsResponse>(bytes, &OnListOffsetsAnswer);
    case 8: return With<v1::ProduceStreamRequest>(bytes, &OnProduceStream);
    case 9:
      return With<v1::ProduceStreamResponse>(bytes, &OnProduceStreamAnswer);
    case 10:
      return With<v1::DeleteRecordsRequest>(bytes, &OnDeleteRecords);
    case 11:
      return With<v1::DeleteRecordsResponse>(bytes, &OnDeleteRecordsAnswer);
    case 12:
      return With<v1::OffsetForLeaderEpochRequest>(bytes,
                                                   &OnOffsetForLeaderEpoch);
    default: return CheckDecoding(std::string(bytes));
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  const uint8_t kind = input.Below(13);
  sluice::fuzz::Check(kind, input.Rest());
  return 0;
}
