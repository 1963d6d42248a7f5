#include "test/fuzz/mutation.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"

namespace sluice::fuzz {
namespace {

constexpr int64_t kChangesMax = 8;
constexpr int64_t kPieceBytesMax = 64;

// Where comparisons turn.
constexpr int64_t kNumbers[] = {
    0,          1,          2,          -1,         -2,
    15,         16,         61,         127,        128,
    255,        256,        -128,       32767,      -32768,
    65535,      65536,      1 << 20,    8 << 20,    64 << 20,
    2147483647, 2147483648, -2147483648, 4294967295, 4294967296,
    INT64_MAX,  INT64_MIN,  INT64_MAX - 1};

void PutNumberAt(std::string& input, size_t at, uint64_t value, size_t width,
                 bool big_endian) {
  for (size_t i = 0; i < width; ++i) {
    const size_t byte = big_endian ? width - 1 - i : i;
    input[at + i] = static_cast<char>(value >> (8 * byte));
  }
}

uint64_t NumberAt(const std::string& input, size_t at, size_t width,
                  bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    const size_t from = big_endian ? at + i : at + width - 1 - i;
    value = value << 8 | static_cast<uint8_t>(input[from]);
  }
  return value;
}

}  // namespace

const std::string& Mutator::AnyInput() {
  return corpus_[random_.Below(corpus_.size())];
}

size_t Mutator::AnyPosition(size_t size) {
  if (size == 0) return 0;
  const size_t end = random_.OneIn(3) ? std::min<size_t>(size, 64) : size;
  return random_.Below(end + 1);
}

std::string Mutator::Next() {
  std::string input = AnyInput();
  for (int64_t i = random_.Between(1, kChangesMax); i > 0; --i) Change(input);
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  return input;
}

void Mutator::Change(std::string& input) {
  switch (random_.Below(9)) {
    case 0: return FlipBit(input);
    case 1: return SetByte(input);
    case 2: return SetNumber(input);
    case 3: return AddToNumber(input);
    case 4: return Erase(input);
    case 5: return InsertRandom(input);
    case 6: return CopyWithin(input);
    case 7: return Splice(input);
    default: return PutToken(input);
  }
}

void Mutator::FlipBit(std::string& input) {
  if (input.empty()) return InsertRandom(input);
  const size_t at = std::min(AnyPosition(input.size()), input.size() - 1);
  input[at] = static_cast<char>(input[at] ^ (1 << random_.Below(8)));
}

void Mutator::SetByte(std::string& input) {
  if (input.empty()) return InsertRandom(input);
  const size_t at = std::min(AnyPosition(input.size()), input.size() - 1);
  input[at] = static_cast<char>(random_.Below(256));
}

void Mutator::SetNumber(std::string& input) {
  const size_t width = size_t{1} << random_.Below(4);
  if (input.size() < width) return InsertRandom(input);
  const size_t at = std::min(AnyPosition(input.size()), input.size() - width);
  const int64_t number = kNumbers[random_.Below(std::size(kNumbers))];
  PutNumberAt(input, at, static_cast<uint64_t>(number), width,
              !random_.OneIn(4));
}

void Mutator::AddToNumber(std::string& input) {
  const size_t width = size_t{1} << random_.Below(4);
  if (input.size() < width) return InsertRandom(input);
  const size_t at = std::min(AnyPosition(input.size()), input.size() - width);
  const bool big_endian = !random_.OneIn(4);
  const uint64_t number = NumberAt(input, at, width, big_endian);
  PutNumberAt(input, at,
              number + static_cast<uint64_t>(random_.Between(-8, 8)), width,
              big_endian);
}

void Mutator::Erase(std::string& input) {
  if (input.empty()) return;
  const size_t at = std::min(AnyPosition(input.size()), input.size() - 1);
  // Sometimes all that follows: a file that was cut.
  const size_t count =
      random_.OneIn(4)
          ? input.size() - at
          : static_cast<size_t>(random_.Between(1, kPieceBytesMax));
  input.erase(at, count);
}

void Mutator::InsertRandom(std::string& input) {
  std::string piece;
  for (int64_t i = random_.Between(1, 16); i > 0; --i) {
    piece.push_back(static_cast<char>(random_.Below(256)));
  }
  input.insert(AnyPosition(input.size()), piece);
}

void Mutator::CopyWithin(std::string& input) {
  if (input.empty()) return;
  const size_t from = random_.Below(input.size());
  const std::string piece = input.substr(
      from, static_cast<size_t>(random_.Between(1, 4 * kPieceBytesMax)));
  const size_t to = AnyPosition(input.size());
  if (random_.OneIn(2)) {
    input.insert(to, piece);
  } else {
    input.replace(to, std::min(piece.size(), input.size() - to), piece);
  }
}

void Mutator::Splice(std::string& input) {
  const std::string& other = AnyInput();
  if (other.empty()) return;
  input.resize(random_.Below(input.size() + 1));
  input.append(other, random_.Below(other.size()));
}

void Mutator::PutToken(std::string& input) {
  if (dictionary_.empty()) return SetByte(input);
  const std::string& token = dictionary_[random_.Below(dictionary_.size())];
  const size_t at = AnyPosition(input.size());
  if (random_.OneIn(2)) {
    input.insert(at, token);
  } else {
    input.replace(at, std::min(token.size(), input.size() - at), token);
  }
}

namespace {

// nullopt: a bad escape.
std::optional<std::string> Unescape(std::string_view text) {
  std::string token;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      token.push_back(text[i]);
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    if (text[i] == '\\' || text[i] == '"') {
      token.push_back(text[i]);
      continue;
    }
    int byte = 0;
    if (text[i] != 'x' || i + 2 >= text.size() ||
        !absl::SimpleHexAtoi(AbslView(text.substr(i + 1, 2)), &byte)) {
      return std::nullopt;
    }
    token.push_back(static_cast<char>(byte));
    i += 2;
  }
  return token;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseDictionary(
    const std::string& text) {
  std::vector<std::string> tokens;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string::npos || line[first] == '#') continue;
    const size_t open = line.find('"');
    const size_t close = line.rfind('"');
    auto token = open == close
                     ? std::nullopt
                     : Unescape(std::string_view(line).substr(
                           open + 1, close - open - 1));
    if (!token.has_value()) {
      return MakeError(ErrorCode::kInvalidRequest,
                       "no token in the dictionary's line: ", line);
    }
    tokens.push_back(*std::move(token));
  }
  return tokens;
}

}  // namespace sluice::fuzz
