// The view of a replica that is told of everything at once.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/coordinator/offsets_view.h"
#include "broker/coordinator/view_world_testing.h"
#include "common/base/random.h"

namespace sluice::coordinator {

inline const TopicId kTopic{Uuid(1, 2)};

inline offsets::OffsetKey Key(const std::string& group, int32_t partition) {
  return {group, {kTopic, PartitionIndex(partition)}};
}

inline Change Put(const std::string& group, int32_t partition, int64_t offset) {
  offsets::OffsetPut put{Key(group, partition), {}};
  put.committed.offset = Offset(offset);
  return put;
}

inline Change EmptyGroup(const std::string& group) {
  return offsets::GroupPut{group, EncodeGroup({})};
}

class OffsetsViewTest : public testing::Test {
 protected:
  class Observer final : public ReplicaObserver {
   public:
    Observer(OffsetsView* view, FakeReplica* replica)
        : view_(view), replica_(replica) {}
    Offset RestartHighWatermark(Offset recovered) override {
      return offsets::RestartHighWatermark(recovered, view_->applied());
    }
    void Attach(ObservedReplica*) override {}
    void OnProgress() override { view_->Follow(*replica_); }
    void OnTopicsRemoved() override {}
    void OnCut(Offset target) override { view_->OnCut(target); }
    void OnClosed() override { view_->Close(); }

   private:
    OffsetsView* const view_;
    FakeReplica* const replica_;
  };

  OffsetsViewTest() { Start(); }

  void Start() {
    OffsetsView::Deps deps;
    deps.executor = env_.shard();
    deps.clock = &env_.world;
    deps.store = env_.store.get();
    deps.tp = {TopicId(Uuid(9, 9)), PartitionIndex(3)};
    deps.name = "__consumer_offsets-3";
    deps.on_moved = [this] { ++moved_; };
    view_ = std::make_unique<OffsetsView>(std::move(deps));
    observer_ = std::make_unique<Observer>(view_.get(), &replica_);
    replica_.observer = observer_.get();
    view_->Bind(replica_.epochs(), replica_.leo());
  }
  // Of the process alone: what was not flushed of the store is lost, or some
  // of it.
  void Restart(Random* random = nullptr) {
    replica_.observer = nullptr;
    view_.reset();
    env_.store.reset();
    env_.disk.Crash(random);
    env_.Mount();
    Start();
  }

  std::optional<int64_t> Find(const std::string& group, int32_t partition) {
    const auto found = view_->FindOffset(Key(group, partition));
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok() || !found->has_value()) return std::nullopt;
    return (*found)->offset.value();
  }
  // All that the log up to `next` says, by replay.
  std::map<offsets::OffsetKey, int64_t> Replay(Offset next) const {
    std::map<offsets::OffsetKey, int64_t> out;
    for (const auto& batch : replica_.log()) {
      if (batch.next > next) break;
      const auto decoded = DecodeBatch(*BatchView::Parse(batch.bytes));
      for (const auto& record : decoded->records) {
        if (const auto* put = std::get_if<offsets::OffsetPut>(&record.change)) {
          out[put->key] = put->committed.offset.value();
        }
        if (const auto* gone =
                std::get_if<offsets::OffsetGone>(&record.change)) {
          out.erase(gone->key);
        }
      }
    }
    return out;
  }
  std::map<offsets::OffsetKey, int64_t> Dump() {
    std::map<offsets::OffsetKey, int64_t> out;
    for (const char* group : {"a", "b", "c"}) {
      EXPECT_TRUE(view_
                      ->ScanOffsets(group,
                                    [&](const offsets::OffsetKey& key,
                                        const offsets::CommittedOffset& c) {
                                      out[key] = c.offset.value();
                                      return true;
                                    })
                      .ok());
    }
    return out;
  }

  ViewWorld env_;
  FakeReplica replica_;
  std::unique_ptr<OffsetsView> view_;
  std::unique_ptr<Observer> observer_;
  int moved_ = 0;
};

}  // namespace sluice::coordinator
