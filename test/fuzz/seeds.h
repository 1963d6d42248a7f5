// First inputs of every target, made by the product's own encoders: a fuzzer
// that had to guess a checksum or a message would never get past it.
// write_seeds.cc puts them into test/fuzz/corpus.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"

namespace sluice::fuzz {

struct Seed {
  std::string target;
  std::string name;
  std::string bytes;
};

// The other end of FuzzInput.
class SeedWriter {
 public:
  SeedWriter& U8(int value) {
    bytes_.push_back(static_cast<char>(value));
    return *this;
  }
  SeedWriter& U16(int64_t value) {
    PutBig16(bytes_, static_cast<uint16_t>(value));
    return *this;
  }
  SeedWriter& U64(int64_t value) {
    PutBig64(bytes_, static_cast<uint64_t>(value));
    return *this;
  }
  SeedWriter& Piece(std::string_view bytes) {
    U16(static_cast<int64_t>(bytes.size()));
    return Raw(bytes);
  }
  SeedWriter& Raw(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  std::string Finish() const { return bytes_; }

 private:
  std::string bytes_;
};

std::vector<Seed> StorageSeeds();
std::vector<Seed> RaftSeeds();
std::vector<Seed> MetadataSeeds();
std::vector<Seed> WireSeeds();

}  // namespace sluice::fuzz
