#include "common/base/ids.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/base/bytes.h"

namespace sluice {

std::optional<Uuid> Uuid::FromBytes(std::string_view bytes) {
  if (bytes.empty()) return Uuid();
  if (bytes.size() != 16) return std::nullopt;
  return Uuid(LoadBig64(bytes.data()), LoadBig64(bytes.data() + 8));
}

std::optional<Uuid> Uuid::FromString(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  for (char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      return std::nullopt;
    }
  }
  return FromBytes(absl::HexStringToBytes(absl::string_view(text.data(), text.size())));
}

std::string Uuid::ToBytes() const {
  if (!is_set()) return "";
  std::string bytes(16, '\0');
  StoreBig64(bytes.data(), high_);
  StoreBig64(bytes.data() + 8, low_);
  return bytes;
}

std::string Uuid::ToString() const {
  std::string bytes(16, '\0');
  StoreBig64(bytes.data(), high_);
  StoreBig64(bytes.data() + 8, low_);
  return absl::BytesToHexString(bytes);
}

}  // namespace sluice
