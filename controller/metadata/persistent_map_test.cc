#include "controller/metadata/persistent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "common/base/random.h"

namespace sluice {
namespace {

template <class K, class V>
void ExpectEqual(const PersistentMap<K, V>& map, const std::map<K, V>& model) {
  ASSERT_EQ(map.size(), model.size());
  auto it = map.begin();
  for (const auto& [key, value] : model) {
    ASSERT_FALSE(it == map.end());
    ASSERT_EQ(it->first, key);
    ASSERT_EQ(it->second, value);
    ++it;
  }
  ASSERT_TRUE(it == map.end());
}

TEST(PersistentMapTest, BehavesAsAnOrderedMapAndOldCopiesStayAsTheyWere) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    PersistentMap<int, std::string> map;
    std::map<int, std::string> model;
    std::vector<std::pair<PersistentMap<int, std::string>,
                          std::map<int, std::string>>>
        copies;
    for (int step = 0; step < 1500; ++step) {
      const int key = static_cast<int>(random.Below(400));
      if (random.Below(3) == 0) {
        EXPECT_EQ(map.Erase(key), model.erase(key) > 0);
      } else {
        const std::string value = std::to_string(random.Next64());
        map.Set(key, value);
        model[key] = value;
      }
      const auto bound = map.LowerBound(key);
      const auto expected = model.lower_bound(key);
      if (expected == model.end()) {
        EXPECT_TRUE(bound == map.end());
      } else {
        EXPECT_EQ(bound->first, expected->first);
      }
      if (step % 300 == 0) copies.emplace_back(map, model);
    }
    ExpectEqual(map, model);
    for (const auto& [copy, then] : copies) ExpectEqual(copy, then);
  }
}

TEST(PersistentMapTest, RisingKeysAndFullErasureWork) {
  PersistentMap<int, int> map;
  for (int i = 0; i < 1000; ++i) map.Set(i, i);
  ASSERT_EQ(map.size(), 1000u);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(*map.Find(i), i);
  EXPECT_EQ(map.Find(1000), nullptr);
  for (int i = 999; i >= 0; --i) EXPECT_TRUE(map.Erase(i));
  EXPECT_TRUE(map.empty());
  EXPECT_TRUE(map.begin() == map.end());
  map.Set(5, 6);
  EXPECT_EQ(*map.Find(5), 6);
}

}  // namespace
}  // namespace sluice
