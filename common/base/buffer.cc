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

MutableBuffer::MutableBuffer(size_t size)
    : bytes_(new char[size]), size_(size) {}

MutableBuffer MutableBuffer::CopyOf(std::string_view bytes) {
  MutableBuffer copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data(), bytes.data(), bytes.size());
  return copy;
}

Buffer MutableBuffer::Publish() && {
  const std::string_view view(bytes_.get(), size_);
  return Buffer(std::shared_ptr<const void>(std::move(bytes_), view.data()),
                view);
}

}  // namespace sluice
