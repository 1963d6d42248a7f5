// What a client's metadata says of leaders, as it changes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/metadata_cache.h"
#include "common/base/str_cat.h"

namespace sluice::sim {

// To a client no leader is followed by an older one, whoever told it: by an
// answer, by a watch, by a broker that is not the leader any more (MD2 at the
// client). Of topics that are not made again.
class LeaderMonitor {
 public:
  LeaderMonitor(std::string who, MetadataCache* metadata,
                std::vector<NamedPartition> partitions,
                std::function<void(const std::string&)> report)
      : who_(std::move(who)),
        metadata_(metadata),
        partitions_(std::move(partitions)),
        report_(std::move(report)),
        observed_(metadata->Observe([this] { Look(); })) {}

 private:
  void Look() {
    for (const NamedPartition& tp : partitions_) {
      const auto leader = metadata_->LeaderOf(tp);
      if (!leader.has_value()) continue;
      LeaderEpoch& newest =
          newest_.try_emplace(tp, leader->leader_epoch).first->second;
      if (leader->leader_epoch < newest) {
        report_(StrCat("MD2: to ", who_, " the leader of ", tp, " is ",
                       leader->leader_id, " of epoch ", leader->leader_epoch,
                       ", after one of epoch ", newest));
      }
      newest = std::max(newest, leader->leader_epoch);
    }
  }

  const std::string who_;
  MetadataCache* const metadata_;
  const std::vector<NamedPartition> partitions_;
  const std::function<void(const std::string&)> report_;
  std::map<NamedPartition, LeaderEpoch> newest_;
  std::shared_ptr<void> observed_;
};

}  // namespace sluice::sim
