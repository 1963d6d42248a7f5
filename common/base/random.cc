#include "common/base/random.h"

#include "common/base/invariant.h"

namespace sluice {
namespace {

uint64_t SplitMix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

uint64_t RotateLeft(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix(seed);
}

uint64_t Random::Next64() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t bound) {
  INVARIANT(bound > 0, "Random::Below needs a positive bound");
  // The bias of a plain modulo is below 2^-32 for the bounds used here; reject
  // the tail all the same so that small models are exact.
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value = Next64();
  while (value >= limit) value = Next64();
  return value % bound;
}

int64_t Random::Between(int64_t low, int64_t high) {
  INVARIANT(low <= high, "Random::Between low=", low, " high=", high);
  return low + static_cast<int64_t>(
                   Below(static_cast<uint64_t>(high - low) + 1));
}

Uuid Random::NextUuid() {
  Uuid id(Next64(), Next64());
  while (!id.is_set()) id = Uuid(Next64(), Next64());
  return id;
}

}  // namespace sluice
