// Varints (common/base/bytes.h), which every record is made of.
//
// Property: reading agrees with a reading of the format that shares no code
// with the product: at most 5 and 10 bytes, padded ones within that accepted
// (correctness.md 5.3), longer ones and numbers of more than 32 and 64 bits
// refused, and a refusal moves nothing. Writing is the shortest form, of
// VarintSize bytes, and reads back as the same number.
//
// Input: the bytes to read; the first eight of them are also numbers to write.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/invariant.h"

namespace sluice::fuzz {
namespace {

struct Expected {
  int64_t value;
  size_t bytes;
};

// LEB128, then zigzag, in 128 bits: nothing can be lost on the way.
std::optional<Expected> Read(std::string_view bytes, size_t bytes_max,
                             int bits) {
  unsigned __int128 raw = 0;
  for (size_t i = 0; i < bytes_max && i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    raw |= static_cast<unsigned __int128>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (raw >> bits != 0) return std::nullopt;
    const auto half = static_cast<uint64_t>(raw >> 1);
    const bool negative = (raw & 1) != 0;
    return Expected{static_cast<int64_t>(negative ? ~half : half), i + 1};
  }
  return std::nullopt;
}

template <class T>
void CheckRead(std::string_view bytes, size_t at, std::optional<T> got,
               const ByteReader& reader, size_t bytes_max, int bits) {
  const auto want = Read(bytes.substr(at), bytes_max, bits);
  INVARIANT(got.has_value() == want.has_value(), "at ", at, " read: ",
            got.has_value(), ", expected: ", want.has_value());
  if (!got.has_value()) {
    INVARIANT(reader.position() == at, "a refusal moved ", at, " to ",
              reader.position());
    return;
  }
  INVARIANT(*got == want->value, "read ", *got, ", expected ", want->value);
  INVARIANT(reader.position() == at + want->bytes, "moved to ",
            reader.position(), " from ", at, " over ", want->bytes);
}

void CheckReading(std::string_view bytes) {
  for (size_t at = 0; at <= bytes.size(); ++at) {
    ByteReader narrow(bytes);
    ByteReader wide(bytes);
    INVARIANT(narrow.Bytes(at).has_value() && wide.Bytes(at).has_value(),
              "cannot skip ", at);
    CheckRead(bytes, at, narrow.Varint32(), narrow, 5, 32);
    CheckRead(bytes, at, wide.Varint64(), wide, 10, 64);
  }
}

void CheckWriting(int64_t number) {
  std::string out;
  PutVarint64(out, number);
  INVARIANT(static_cast<int>(out.size()) == VarintSize(number), number,
            " takes ", out.size(), " bytes, not ", VarintSize(number));
  INVARIANT(out.size() == 1 || out.back() != 0, number, " is padded");
  ByteReader reader(out);
  INVARIANT(reader.Varint64() == number && reader.remaining() == 0, number,
            " does not read back");

  const auto narrow = static_cast<int32_t>(number);
  out.clear();
  PutVarint32(out, narrow);
  INVARIANT(static_cast<int>(out.size()) == VarintSize(narrow), narrow,
            " takes ", out.size(), " bytes, not ", VarintSize(narrow));
  ByteReader narrow_reader(out);
  INVARIANT(narrow_reader.Varint32() == narrow &&
                narrow_reader.remaining() == 0,
            narrow, " does not read back");
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Every position is tried: longer ones say nothing new.
  const std::string_view bytes(reinterpret_cast<const char*>(data),
                               std::min<size_t>(size, 256));
  sluice::fuzz::CheckReading(bytes);
  if (bytes.size() >= 8) {
    sluice::fuzz::CheckWriting(
        static_cast<int64_t>(sluice::LoadBig64(bytes.data())));
  }
  return 0;
}
