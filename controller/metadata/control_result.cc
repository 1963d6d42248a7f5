#include "controller/metadata/control_result.h"

#include <string>
#include <string_view>

#include "common/base/error.h"

namespace sluice {
namespace {

// Of what is kept, most is the beginning: it names the object. The end says
// what may be done.
constexpr size_t kTailBytes = kErrorMessageBytesMax / 4;
constexpr size_t kHeadBytes = kErrorMessageBytesMax - kTailBytes - 64;

bool IsInsideCharacter(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// What a client sent comes back in the middle of a message, up to a megabyte of
// it a value. Cut between characters, for the field is UTF-8.
std::string Shortened(std::string_view text) {
  if (text.size() <= kErrorMessageBytesMax) return std::string(text);
  size_t head = kHeadBytes;
  while (head > 0 && IsInsideCharacter(text[head])) --head;
  size_t tail = text.size() - kTailBytes;
  while (tail < text.size() && IsInsideCharacter(text[tail])) ++tail;
  return StrCat(text.substr(0, head), "[", tail - head, " bytes left out]",
                text.substr(tail));
}

}  // namespace

v1::Error ToError(const absl::Status& status) {
  v1::Error error;
  error.set_code(static_cast<v1::ErrorCode>(CodeOf(status)));
  error.set_message(
      Shortened({status.message().data(), status.message().size()}));
  return error;
}

}  // namespace sluice
