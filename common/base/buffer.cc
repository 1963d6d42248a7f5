#include "common/base/buffer.h"

#include <cstring>

#include "common/base/invariant.h"

namespace sluice {

Buffer Buffer::CopyOf(std::string_view bytes) {
  return MutableBuffer::CopyOf(bytes).Publish();
}

Buffer Buffer::Take(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  const std::string_view view = *owner;
  return Buffer(std::move(owner), view);
}

Buffer Buffer::Slice(size_t from, size_t count) const {
  INVARIANT(from <= size() && count <= size() - from, "slice [", from, ", +",
            count, ") of ", size(), " bytes");
  return Buffer(owner_, bytes_.substr(from, count));
}

MutableBuffer::MutableBuffer(size_t size) : size_(size) {
  std::shared_ptr<char[]> bytes(new char[size]);
  bytes_ = bytes.get();
  owner_ = std::move(bytes);
}

MutableBuffer MutableBuffer::CopyOf(std::string_view bytes) {
  MutableBuffer copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data(), bytes.data(), bytes.size());
  return copy;
}

MutableBuffer MutableBuffer::Adopt(std::string bytes) {
  auto owner = std::make_shared<std::string>(std::move(bytes));
  MutableBuffer adopted(0);
  adopted.bytes_ = owner->data();
  adopted.size_ = owner->size();
  adopted.owner_ = std::move(owner);
  return adopted;
}

Buffer MutableBuffer::Publish() && {
  return Buffer(std::move(owner_), view());
}

}  // namespace sluice
