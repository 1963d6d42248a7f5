// Replication frames with arbitrary bytes, of any follower and any leader
// (common/rpc/replication_wire.h).
//
// Property: a frame is decoded or refused with INVALID_REQUEST; what was
// decoded is within the ranges that its decoder promises, and encoded it is
// decoded as the same frame.
//
// Input: which end sends it, then its bytes.
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/rpc/replication_wire.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

grpc::ByteBuffer BufferOf(std::string_view bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  INVARIANT(buffer.Dump(&slices).ok(), "a buffer without bytes");
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

void CheckRefused(const absl::Status& status) {
  INVARIANT(CodeOf(status) == ErrorCode::kInvalidRequest, "not promised: ",
            status.ToString());
}

template <class Message>
void CheckPlace(const Message& m) {
  INVARIANT(m.tp.topic_id.is_set() && m.tp.partition.value() >= 0 &&
                m.leader_epoch.value() >= 0 && m.add_number > kNoAddNumber,
            "decoded ", m.tp, " of epoch ", m.leader_epoch, ", question ",
            m.add_number);
}

void CheckLeaderFrame(std::string_view bytes) {
  grpc::ByteBuffer in = BufferOf(bytes);
  auto frame = rpc::DecodeLeaderFrame(&in);
  if (!frame.ok()) return CheckRefused(frame.status());
  for (const ReplicaData& data : frame->data) {
    CheckPlace(data);
    INVARIANT(data.high_watermark.value() >= 0, "HW ", data.high_watermark);
  }
  for (const HighWatermarkMoved& moved : frame->high_watermarks) {
    CheckPlace(moved);
  }
  for (const AddAnswer& answer : frame->add_answers) {
    CheckPlace(answer);
  }
  for (const ReplicaMoved& moved : frame->moved) {
    CheckPlace(moved);
  }
  const std::string once = BytesOf(rpc::EncodeLeaderFrame(*std::move(frame)));
  grpc::ByteBuffer sent = BufferOf(once);
  auto again = rpc::DecodeLeaderFrame(&sent);
  INVARIANT(again.ok(), "decoded, then: ", again.status().ToString());
  INVARIANT(BytesOf(rpc::EncodeLeaderFrame(*std::move(again))) == once,
            "a leader's frame differs");
}

void CheckFollowerFrame(std::string_view bytes) {
  grpc::ByteBuffer in = BufferOf(bytes);
  const auto frame = rpc::DecodeFollowerFrame(&in);
  if (!frame.ok()) return CheckRefused(frame.status());
  INVARIANT(frame->credit_bytes >= 0, "a credit of ", frame->credit_bytes);
  for (const AddReplica& add : frame->adds) {
    CheckPlace(add);
    INVARIANT(add.fetch_offset.value() >= 0, "from ", add.fetch_offset);
  }
  for (const AckReplica& ack : frame->acks) {
    CheckPlace(ack);
    INVARIANT(ack.durable_leo.value() >= 0 &&
                  ack.durable_leo <= ack.appended_leo,
              "durable ", ack.durable_leo, " of ", ack.appended_leo);
  }
  const std::string once = BytesOf(rpc::EncodeFollowerFrame(*frame));
  grpc::ByteBuffer sent = BufferOf(once);
  const auto again = rpc::DecodeFollowerFrame(&sent);
  INVARIANT(again.ok(), "decoded, then: ", again.status().ToString());
  INVARIANT(BytesOf(rpc::EncodeFollowerFrame(*again)) == once,
            "a follower's frame differs");
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  if (input.Below(2) == 0) {
    sluice::fuzz::CheckLeaderFrame(input.Rest());
  } else {
    sluice::fuzz::CheckFollowerFrame(input.Rest());
  }
  return 0;
}
