// Deterministic changes to an input: what a fuzzer without coverage feedback
// can do. The same (seed, corpus, dictionary) give the same inputs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"

namespace sluice::fuzz {

// Longer inputs cost time and find nothing that shorter ones do not: libFuzzer
// is told the same limit.
inline constexpr size_t kInputBytesMax = 4096;

class Mutator {
 public:
  // Both outlive it. `corpus` must not be empty.
  Mutator(uint64_t seed, const std::vector<std::string>& corpus,
          const std::vector<std::string>& dictionary)
      : random_(seed), corpus_(corpus), dictionary_(dictionary) {}

  // One of the corpus with one to eight changes, at most kInputBytesMax bytes.
  std::string Next();

 private:
  const std::string& AnyInput();
  // In [0, size]: mostly near the front, where headers are.
  size_t AnyPosition(size_t size);
  void Change(std::string& input);
  void FlipBit(std::string& input);
  void SetByte(std::string& input);
  void SetNumber(std::string& input);
  void AddToNumber(std::string& input);
  void Erase(std::string& input);
  void InsertRandom(std::string& input);
  void CopyWithin(std::string& input);
  void Splice(std::string& input);
  void PutToken(std::string& input);

  Random random_;
  const std::vector<std::string>& corpus_;
  const std::vector<std::string>& dictionary_;
};

// The tokens of a libFuzzer dictionary: lines of the form name="bytes", with
// \\, \" and \xAB. INVALID_REQUEST names a malformed line.
absl::StatusOr<std::vector<std::string>> ParseDictionary(
    const std::string& text);

}  // namespace sluice::fuzz
