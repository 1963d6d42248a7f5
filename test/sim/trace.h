// What happened, as lines for people and as one number for machines.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sluice::sim {

// The hash covers what happened and when, not the lines: a run with and one
// without them have the same.
class Trace {
 public:
  // `lines`: where they go; null: nowhere.
  explicit Trace(std::FILE* lines) : lines_(lines) {}

  bool verbose() const { return lines_ != nullptr; }
  void Mix(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15u;
    hash_ ^= hash_ >> 29;
  }
  void MixBytes(std::string_view bytes);
  // `node`: whose event; kNoNode: the world's.
  void Line(int64_t now_us, NodeId node, std::string_view text);
  uint64_t hash() const { return hash_; }

 private:
  std::FILE* const lines_;
  uint64_t hash_ = 0x736c75696365;
};

}  // namespace sluice::sim
