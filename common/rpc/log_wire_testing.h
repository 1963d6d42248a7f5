// What the tests of LogService's messages share.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "common/rpc/log_wire.h"
#include "common/rpc/slice_writer.h"

namespace sluice::rpc {

inline const TopicId kTopicId(Uuid(0x0123456789abcdef, 0xfedcba9876543210));

template <class Message>
Message Parse(grpc::ByteBuffer bytes) {
  Message message;
  EXPECT_TRUE(ParseMessage(&bytes, &message));
  return message;
}

inline std::string BytesOfSize(size_t size, char seed) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(seed + i * 7);
  return bytes;
}

}  // namespace sluice::rpc
