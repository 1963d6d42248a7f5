// Bytes that are owned, ref-counted and, once published, immutable. The log's
// tail cache, the replication streams and the consumers share one Buffer.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

// A shared view of immutable bytes. Copying copies a reference. Thread-safe:
// the bytes never change, the count is atomic.
class Buffer {
 public:
  Buffer() = default;

  static Buffer CopyOf(std::string_view bytes);
  static Buffer Take(std::string bytes);
  // `owner` keeps [bytes] alive and unchanged for as long as any Buffer does.
  static Buffer Adopt(std::shared_ptr<const void> owner,
                      std::string_view bytes) {
    return Buffer(std::move(owner), bytes);
  }

  std::string_view view() const { return bytes_; }
  const char* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // Shares the owner. [from, from + count) must lie inside.
  Buffer Slice(size_t from, size_t count) const;

 private:
  friend class MutableBuffer;
  Buffer(std::shared_ptr<const void> owner, std::string_view bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

// Bytes under construction, with one owner. Publish() ends the mutation.
class MutableBuffer {
 public:
  MutableBuffer() : MutableBuffer(0) {}
  explicit MutableBuffer(size_t size);
  static MutableBuffer CopyOf(std::string_view bytes);
  // Takes the string's bytes over without a copy.
  static MutableBuffer Adopt(std::string bytes);

  char* data() { return bytes_; }
  const char* data() const { return bytes_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {bytes_, size_}; }

  Buffer Publish() &&;

 private:
  std::shared_ptr<const void> owner_;
  char* bytes_;
  size_t size_;
};

}  // namespace sluice
