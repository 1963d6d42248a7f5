// A protobuf message put together from small fields, which are copied, and
// record bytes, which are not: they go to the socket from where they are.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/buffer.h"

namespace sluice::rpc {

// Fields may come in any order on protobuf's wire, and two messages one after
// the other are their merge: so a generated message writes the small fields,
// and the bytes field follows by reference. Not thread-safe.
class SliceWriter {
 public:
  // Below this a copy is cheaper than a slice of its own.
  static constexpr size_t kCopyBytesMax = 2048;

  // The fields of `message`.
  void Append(const google::protobuf::MessageLite& message);
  // The head of a length-delimited field (bytes, string, message) whose
  // `size` bytes are appended next.
  void AppendFieldHead(int field_number, size_t size);
  // Shares the bytes until they are on the wire.
  void Append(const Buffer& bytes);
  // Shares the slices of a message that is written already.
  void Append(const grpc::ByteBuffer& message);

  grpc::ByteBuffer Finish() &&;

  // Bytes that AppendFieldHead and `size` bytes of content take.
  static size_t FieldSize(int field_number, size_t size);

 private:
  void CloseHead();

  std::string head_;
  std::vector<grpc::Slice> slices_;
};

// Parses and empties `bytes`. False: not a message of this type.
bool ParseMessage(grpc::ByteBuffer* bytes,
                  google::protobuf::MessageLite* message);

// Serializes into one slice.
grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message);

}  // namespace sluice::rpc
