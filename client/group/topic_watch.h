// The topics whose names match a pattern, as they come and go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "client/admin.h"
#include "client/client_types.h"
#include "client/metadata_cache.h"

namespace re2 {
class RE2;
}

namespace sluice {

// Lives on the client's executor. Lists the cluster's topics at once, and every
// kEveryUs; internal ones never match.
class TopicWatch {
 public:
  static constexpr int64_t kEveryUs = 10'000'000;
  static constexpr int64_t kListTimeoutUs = 5'000'000;
  static constexpr size_t kPatternBytesMax = 1'000;
  // More are an error: a member names all of its topics when it joins.
  static constexpr size_t kTopicsMax = 1'000;

  struct Deps {
    ClientDeps client;
    ClientOptions options;
    MetadataCache* metadata = nullptr;
    // At least one, and others than the last time.
    std::function<void(const std::set<std::string>&)> on_topics;
    // INVALID_REQUEST: too many match. Others no retry helps.
    std::function<void(const absl::Status&)> on_error;
  };

  // `pattern` is of RE2's syntax and has to match a whole name. INVALID_REQUEST.
  static absl::StatusOr<std::unique_ptr<TopicWatch>> Start(
      const Deps& deps, const std::string& pattern);
  ~TopicWatch();
  TopicWatch(const TopicWatch&) = delete;
  TopicWatch& operator=(const TopicWatch&) = delete;

 private:
  TopicWatch(const Deps& deps, std::unique_ptr<re2::RE2> pattern);

  void List();
  void OnListed(const absl::StatusOr<v1::ListTopicsResponse>& listed);

  const Deps deps_;
  const std::unique_ptr<re2::RE2> pattern_;
  Admin admin_;
  std::set<std::string> told_;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
