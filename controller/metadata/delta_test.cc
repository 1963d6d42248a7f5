#include "controller/metadata/delta.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::MetadataBatch;
using internal::v1::MetadataRecord;

absl::Status TryApply(const MetadataImage& image, const MetadataBatch& batch) {
  return ApplyBatch(image, batch, image.offset().Next(), image.term())
      .status();
}

TEST(DeltaTest, MD8WhatIsNotKnownStopsTheNode) {
  TestCluster cluster;
  MetadataBatch unknown_type;
  // Field 99 of MetadataRecord: a record type of a later version.
  ASSERT_TRUE(unknown_type.add_records()->ParseFromString("\x9a\x06\x01x"));
  MetadataBatch unknown_field;
  auto* feature = unknown_field.add_records()->mutable_feature_level();
  ASSERT_TRUE(feature->ParseFromString("\x08\x01\xa0\x06\x01"));
  MetadataBatch level;
  level.add_records()->mutable_feature_level()->set_level(2);
  MetadataBatch empty_record;
  empty_record.add_records();
  MetadataBatch batch_field;
  ASSERT_TRUE(batch_field.ParseFromString("\xa0\x06\x01"));
  // Inside a message of a record: a later version's address of a broker.
  MetadataBatch nested_field;
  auto* listener =
      nested_field.add_records()->mutable_register_broker()->add_listeners();
  ASSERT_TRUE(listener->ParseFromString("\xa0\x06\x01"));
  MetadataBatch kind;
  auto* topic = kind.add_records()->mutable_topic();
  topic->set_id(Uuid(3, 3).ToBytes());
  topic->set_kind(static_cast<internal::v1::TopicRecord::Kind>(9));
  for (const auto& batch : {unknown_type, unknown_field, level, empty_record,
                            batch_field, nested_field, kind}) {
    EXPECT_EQ(CodeOf(TryApply(cluster.image(), batch)),
              ErrorCode::kUnsupportedFormat)
        << batch.ShortDebugString();
  }
}

TEST(DeltaTest, MD7AnIdThatIsUsedAgainIsAnError) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3});
  MetadataBatch batch;
  batch.add_records()->mutable_remove_topic()->set_id(tp.topic_id.ToBytes());
  EXPECT_TRUE(TryApply(cluster.image(), batch).ok());
  auto* topic = batch.add_records()->mutable_topic();
  topic->set_name("u");
  topic->set_id(tp.topic_id.ToBytes());
  EXPECT_EQ(CodeOf(TryApply(cluster.image(), batch)),
            ErrorCode::kInvalidRecord);
}

TEST(DeltaTest, ARecordThatDoesNotFitIsAnError) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3});
  const PartitionImage now = cluster.At(tp);
  const auto change = [&](MetadataRecord& r, int partition_epoch) {
    auto* c = r.mutable_partition_change();
    c->set_topic_id(tp.topic_id.ToBytes());
    c->set_partition_epoch(partition_epoch);
    return c;
  };
  const int next = now.partition_epoch.value() + 1;
  const struct {
    const char* what;
    std::function<void(MetadataRecord&)> make;
  } rows[] = {
      {"RP16 epoch repeats", [&](auto& r) { change(r, next - 1); }},
      {"RP16 epoch jumps", [&](auto& r) { change(r, next + 1); }},
      {"RP16 leader without epoch",
       [&](auto& r) { change(r, next)->set_leader(2); }},
      {"leader epoch falls",
       [&](auto& r) { change(r, next)->set_leader_epoch(-1); }},
      {"RP17 leader out of the ISR",
       [&](auto& r) {
         auto* c = change(r, next);
         c->mutable_isr()->add_ids(2);
       }},
      {"ISR out of the replicas",
       [&](auto& r) {
         auto* c = change(r, next);
         c->mutable_isr()->add_ids(1);
         c->mutable_isr()->add_ids(9);
       }},
      {"unknown topic",
       [&](auto& r) {
         change(r, next)->set_topic_id(Uuid(3, 3).ToBytes());
       }},
      {"short topic id", [&](auto& r) { change(r, next)->set_topic_id("x"); }},
      {"unknown partition",
       [&](auto& r) { change(r, next)->set_partition(1); }},
      {"partition out of turn",
       [&](auto& r) {
         *r.mutable_partition() =
             ToRecord({tp.topic_id, PartitionIndex(2)}, now);
       }},
      {"partition again",
       [&](auto& r) { *r.mutable_partition() = ToRecord(tp, now); }},
      {"taken name",
       [&](auto& r) {
         r.mutable_topic()->set_name("t");
         r.mutable_topic()->set_id(Uuid(3, 3).ToBytes());
       }},
      {"removal of nothing",
       [&](auto& r) {
         r.mutable_remove_topic()->set_id(Uuid(3, 3).ToBytes());
       }},
      {"older incarnation",
       [&](auto& r) {
         r.mutable_broker_change()->set_broker_id(1);
         r.mutable_broker_change()->set_broker_epoch(1);
       }},
      {"RP19 registration while unfenced",
       [&](auto& r) {
         r.mutable_register_broker()->set_broker_id(1);
         r.mutable_register_broker()->set_incarnation_id(
             TestCluster::Incarnation(1, 9));
       }},
      {"config of no topic",
       [&](auto& r) {
         r.mutable_config()->set_resource_type(
             internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
         r.mutable_config()->set_resource_name("nope");
       }},
  };
  const uint64_t before = MetaHash(cluster.image());
  for (const auto& row : rows) {
    MetadataBatch batch;
    // MD3: a good record before the bad one has no effect either.
    auto* good = batch.add_records()->mutable_topic();
    good->set_name("good");
    good->set_id(Uuid(6, 6).ToBytes());
    row.make(*batch.add_records());
    EXPECT_EQ(CodeOf(TryApply(cluster.image(), batch)),
              ErrorCode::kInvalidRecord)
        << row.what;
    EXPECT_EQ(MetaHash(cluster.image()), before);
  }
  MetadataBatch fine;
  fine.add_records()->mutable_no_op();
  EXPECT_TRUE(TryApply(cluster.image(), fine).ok());
  EXPECT_EQ(CodeOf(ApplyBatch(cluster.image(), fine, cluster.image().offset(),
                              cluster.image().term())
                       .status()),
            ErrorCode::kInvalidRecord);
  EXPECT_EQ(CodeOf(ApplyBatch(cluster.image(), fine,
                              cluster.image().offset().Next(), Term(0))
                       .status()),
            ErrorCode::kInvalidRecord);
}

TEST(DeltaTest, ChangesNameWhatChangedAndNothingElse) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto a = cluster.CreateOn("a", {1, 2}, {}, 2);
  EXPECT_EQ(cluster.changes().topics_created,
            std::set<TopicId>{a.topic_id});
  EXPECT_EQ(cluster.changes().partitions_created.size(), 2u);
  EXPECT_TRUE(cluster.changes().partitions_changed.empty());
  const auto b = cluster.CreateOn("b", {3});
  cluster.SetIsr(a, {1});
  EXPECT_EQ(cluster.changes().partitions_changed,
            std::set<TopicPartition>{a});
  cluster.Fence(3);
  EXPECT_EQ(cluster.changes().brokers_changed, std::set<NodeId>{NodeId(3)});
  EXPECT_EQ(cluster.changes().partitions_changed,
            std::set<TopicPartition>{b});
  MetadataBatch config;
  auto* record = config.add_records()->mutable_config();
  record->set_resource_type(internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
  record->set_resource_name("b");
  record->set_key("segment.bytes");
  record->set_value("1000000");
  cluster.Apply(config);
  EXPECT_EQ(cluster.changes().topics_changed, std::set<TopicId>{b.topic_id});
  EXPECT_EQ(cluster.image().FindTopic("b")->configs.at("segment.bytes"),
            "1000000");
  const auto everything = EverythingIn(cluster.image());
  EXPECT_EQ(everything.partitions_created.size(), 3u);
  EXPECT_EQ(everything.brokers_changed.size(), 3u);
  MetadataBatch remove;
  remove.add_records()->mutable_remove_topic()->set_id(a.topic_id.ToBytes());
  cluster.Apply(remove);
  EXPECT_EQ(cluster.changes().partitions_removed.size(), 2u);
  EXPECT_EQ(cluster.image().partition_count(), 1);
  EXPECT_EQ(cluster.image().replica_count(), 1);
}

// One random thing that may happen to a cluster.
void RandomStep(TestCluster& cluster, Random& random, int brokers) {
  const int id = static_cast<int>(random.Between(1, brokers));
  const BrokerImage* broker = cluster.image().FindBroker(NodeId(id));
  switch (random.Below(8)) {
    case 0: {
      auto request =
          TestCluster::Registration(id, cluster.NextIncarnation(id));
      auto* directory = request.mutable_directories(0);
      if (broker != nullptr && random.OneIn(3)) {
        directory->set_clean_broker_epoch(broker->epoch.value());
      }
      if (random.OneIn(3)) directory->set_last_boot_id("other");
      if (random.OneIn(6)) {
        directory->set_id(
            TestCluster::Directory(id, static_cast<int>(random.Below(9))));
      }
      cluster.Register(request);
      return;
    }
    case 1:
      if (broker != nullptr) cluster.Fence(id);
      return;
    case 2:
    case 3:
      if (broker != nullptr) cluster.Unfence(id);
      return;
    case 4:
      if (random.OneIn(3) && broker != nullptr) cluster.BeginStop(id);
      return;
    default:
      break;
  }
  if (random.OneIn(6) || cluster.image().topics().empty()) {
    v1::CreateTopicsRequest request;
    auto* topic = request.add_topics();
    topic->set_name("t" + std::to_string(random.Below(12)));
    topic->set_partition_count(static_cast<int>(random.Between(1, 5)));
    topic->set_replication_factor(static_cast<int>(random.Between(1, 3)));
    if (random.OneIn(2)) {
      (*topic->mutable_configs())["durability"] = "memory";
    }
    cluster.Create(request);
    return;
  }
  auto at = cluster.image().topics().begin();
  for (uint64_t skip = random.Below(cluster.image().topics().size()); skip > 0;
       --skip) {
    ++at;
  }
  const TopicImage& topic = *at->second;
  if (random.OneIn(10)) {
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_id(topic.id.ToBytes());
    auto result =
        TopicControl(cluster.image(), cluster.configs()).Delete(request);
    ASSERT_TRUE(result.ok());
    cluster.Apply(result->batch);
    return;
  }
  const TopicPartition tp{
      topic.id, PartitionIndex(static_cast<int32_t>(
                    random.Below(topic.partitions.size())))};
  if (random.OneIn(2)) {
    const NodeId replica = cluster.At(tp).replicas.front();
    cluster.Report(replica.value(), tp, random.OneIn(3), random.OneIn(5));
    return;
  }
  if (cluster.At(tp).leader == kNoNode) return;
  std::vector<int32_t> isr;
  for (const NodeId node : cluster.At(tp).replicas) {
    if (node == cluster.At(tp).leader || random.OneIn(2)) {
      isr.push_back(node.value());
    }
  }
  // May be refused: an inactive member.
  ASSERT_TRUE(cluster.Alter(cluster.Proposal(tp, isr)).ok());
}

TEST(DeltaTest, MD1ReplayOfTheLogGivesTheSameStateAtEveryOffset) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    TestCluster cluster;
    std::map<LogIndex, uint64_t> hashes;
    for (int step = 0; step < 150; ++step) {
      if (random.OneIn(30)) cluster.NextTerm();
      const auto before = cluster.shared();
      const uint64_t hash_before = MetaHash(*before);
      RandomStep(cluster, random, 5);
      if (testing::Test::HasFailure()) return;
      // Readers of an old image see it unchanged.
      ASSERT_EQ(MetaHash(*before), hash_before);
      hashes[cluster.image().offset()] = MetaHash(cluster.image());
    }
    auto replayed = MetadataImage::Empty();
    MetadataChanges merged;
    for (const auto& entry : cluster.log()) {
      // As from disk or wire.
      MetadataBatch copy;
      ASSERT_TRUE(copy.ParseFromString(entry.batch.SerializeAsString()));
      auto applied = ApplyBatch(*replayed, copy, entry.offset, entry.term);
      ASSERT_TRUE(applied.ok()) << applied.status();
      replayed = applied->image;
      MergeInto(merged, applied->changes);
      const auto known = hashes.find(entry.offset);
      if (known != hashes.end()) {
        ASSERT_EQ(MetaHash(*replayed), known->second) << entry.offset;
      }
    }
    // Everything that changed since the beginning is all that there is.
    const MetadataChanges all = EverythingIn(*replayed);
    EXPECT_EQ(merged.partitions_created, all.partitions_created);
    EXPECT_EQ(merged.topics_created, all.topics_created);
    EXPECT_TRUE(merged.partitions_changed.empty());
    int64_t replicas = 0;
    for (const auto& [id, topic] : replayed->topics()) {
      for (const auto& [index, p] : topic->partitions) {
        replicas += static_cast<int64_t>(p->replicas.size());
      }
    }
    EXPECT_EQ(replayed->replica_count(), replicas);
    EXPECT_EQ(replayed->partition_count(),
              static_cast<int64_t>(all.partitions_created.size()));
  }
}

TEST(DeltaTest, MetaHashSeesEveryField) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3});
  std::set<uint64_t> hashes = {MetaHash(cluster.image())};
  const int epoch = cluster.At(tp).partition_epoch.value() + 1;
  const std::vector<std::function<void(internal::v1::PartitionChangeRecord&)>>
      edits = {
          [](auto&) {},
          [](auto& c) { c.set_leader_epoch(9); },
          [](auto& c) { c.mutable_isr()->add_ids(1); },
          [](auto& c) { c.mutable_elr()->add_ids(2); },
          [](auto& c) { c.mutable_unverified_elr()->add_ids(2); },
          [](auto& c) { c.mutable_last_full_isr()->add_ids(2); },
          [](auto& c) { c.set_last_unclean_leader_epoch(3); },
          [](auto& c) {
            for (int i = 0; i < 3; ++i) c.mutable_directories()->add_ids("");
          },
      };
  for (const auto& edit : edits) {
    MetadataBatch batch;
    auto* change = batch.add_records()->mutable_partition_change();
    change->set_topic_id(tp.topic_id.ToBytes());
    change->set_partition_epoch(epoch);
    edit(*change);
    auto applied = ApplyBatch(cluster.image(), batch,
                              cluster.image().offset().Next(), Term(1));
    ASSERT_TRUE(applied.ok()) << applied.status();
    hashes.insert(MetaHash(*applied->image));
  }
  EXPECT_EQ(hashes.size(), edits.size() + 1);
}

// Prints how long a start takes; does not judge it.
TEST(DeltaTest, ReplayOfAHundredThousandRecordsIsTimed) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("wide", {1, 2, 3}, {}, 10000);
  std::vector<MetadataBatch> log;
  for (int i = 0; i < 100000; ++i) {
    auto* change = log.emplace_back().add_records()->mutable_partition_change();
    change->set_topic_id(tp.topic_id.ToBytes());
    change->set_partition(i % 10000);
    change->set_partition_epoch(i / 10000 + 1);
    change->mutable_isr()->add_ids(1);
    change->mutable_isr()->add_ids(2 + i % 2);
  }
  auto image = cluster.shared();
  const auto start = std::chrono::steady_clock::now();
  for (const MetadataBatch& batch : log) {
    auto applied =
        ApplyBatch(*image, batch, image->offset().Next(), image->term());
    ASSERT_TRUE(applied.ok()) << applied.status();
    image = applied->image;
  }
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;
  std::cout << "100,000 batches of one record over 10,000 partitions: "
            << took.count() << " s\n";
  EXPECT_EQ(image->FindPartition(tp)->partition_epoch.value(), 10);
}

}  // namespace
}  // namespace sluice
