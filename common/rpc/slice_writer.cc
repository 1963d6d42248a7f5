#include "common/rpc/slice_writer.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>

#include "common/base/invariant.h"

namespace sluice::rpc {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr uint32_t kLengthDelimited = 2;

uint32_t TagOf(int field_number) {
  return (static_cast<uint32_t>(field_number) << 3) | kLengthDelimited;
}

void PutVarint(std::string& out, uint32_t value) {
  uint8_t bytes[5];
  const uint8_t* end = CodedOutputStream::WriteVarint32ToArray(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), end - bytes);
}

void Release(void* buffer) { delete static_cast<Buffer*>(buffer); }

}  // namespace

size_t SliceWriter::FieldSize(int field_number, size_t size) {
  return CodedOutputStream::VarintSize32(TagOf(field_number)) +
         CodedOutputStream::VarintSize32(static_cast<uint32_t>(size)) + size;
}

void SliceWriter::Append(const google::protobuf::MessageLite& message) {
  // Every field is set from UTF-8 text and numbers: it cannot fail.
  const bool written = message.AppendToString(&head_);
  INVARIANT(written, "a message of ", message.GetTypeName(), " of ",
            message.ByteSizeLong(), " bytes cannot be serialized");
}

void SliceWriter::AppendFieldHead(int field_number, size_t size) {
  PutVarint(head_, TagOf(field_number));
  PutVarint(head_, static_cast<uint32_t>(size));
}

void SliceWriter::Append(const Buffer& bytes) {
  if (bytes.size() <= kCopyBytesMax) {
    head_.append(bytes.view());
    return;
  }
  CloseHead();
  auto* const owner = new Buffer(bytes);
  // gRPC only reads it.
  slices_.emplace_back(const_cast<char*>(owner->data()), owner->size(),
                       &Release, owner);
}

void SliceWriter::Append(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  const grpc::Status dumped = message.Dump(&slices);
  INVARIANT(dumped.ok(), "an encoded message has no bytes");
  for (grpc::Slice& slice : slices) {
    if (slice.size() <= kCopyBytesMax) {
      head_.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      continue;
    }
    CloseHead();
    slices_.push_back(std::move(slice));
  }
}

void SliceWriter::CloseHead() {
  if (head_.empty()) return;
  slices_.emplace_back(head_);
  head_.clear();
}

grpc::ByteBuffer SliceWriter::Finish() && {
  CloseHead();
  if (slices_.empty()) slices_.emplace_back();
  return grpc::ByteBuffer(slices_.data(), slices_.size());
}

bool ParseMessage(grpc::ByteBuffer* bytes,
                  google::protobuf::MessageLite* message) {
  grpc::ProtoBufferReader reader(bytes);
  const bool parsed = reader.status().ok() &&
                      message->ParseFromZeroCopyStream(&reader) &&
                      reader.status().ok();
  return parsed;
}

grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace sluice::rpc
