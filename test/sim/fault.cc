#include "test/sim/fault.h"

#include <cstdio>

#include "common/base/str_cat.h"
#include "test/sim/message.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kNames[] = {
#define X(name) #name,
    SLUICE_FAULT_KINDS(X)
#undef X
};

std::string Seconds(int64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f s", static_cast<double>(us) / 1e6);
  return text;
}

}  // namespace

std::string_view NameOf(FaultKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

std::string Fault::ToString() const {
  std::string text = index < 0 ? "" : StrCat("[", index, "] ");
  text += StrCat(Seconds(at_us), " ", NameOf(kind));
  if (node != 0) text += StrCat(" node ", node);
  if (other != 0) text += StrCat(" other ", other);
  if (for_us != 0) text += StrCat(" for ", Seconds(for_us));
  if (kind == FaultKind::kDropKind) {
    text += StrCat(" ", NameOf(static_cast<MessageKind>(amount)));
  } else if (amount != 0) {
    text += StrCat(" amount ", amount);
  }
  return text;
}

}  // namespace sluice::sim
