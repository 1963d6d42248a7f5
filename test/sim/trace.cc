#include "test/sim/trace.h"

#include <cstring>

namespace sluice::sim {

void Trace::MixBytes(std::string_view bytes) {
  Mix(bytes.size());
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    Mix(word);
    bytes.remove_prefix(sizeof word);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, bytes.data(), bytes.size());
  Mix(rest);
}

void Trace::Line(int64_t now_us, NodeId node, std::string_view text) {
  if (lines_ == nullptr) return;
  std::fprintf(lines_, "%12.6f %4d %.*s\n", static_cast<double>(now_us) / 1e6,
               node == kNoNode ? 0 : node.value(),
               static_cast<int>(text.size()), text.data());
}

}  // namespace sluice::sim
