// Nothing is trimmed from the metadata log yet, so every start replays all of
// it: this shows that it gives the same image, and prints what it costs.
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "controller/controller_testing.h"
#include "controller/decision_pipeline.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

constexpr size_t kTopics = 1000;
constexpr int kTopicsPerCall = 100;
constexpr int kPartitionsPerTopic = 10;
constexpr size_t kRecords = 100'000;

// CPU time: what a figure is worth on a shared machine.
double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// The batches of a cluster's life with kRecords records: topics, then ISRs
// that shrink and grow.
std::vector<CommittedEntry> History(
    TestCluster& cluster, std::shared_ptr<const MetadataImage>* last) {
  cluster.StartAll(3);
  std::vector<TopicId> topics;
  while (topics.size() < kTopics) {
    v1::CreateTopicsRequest request;
    for (int i = 0; i < kTopicsPerCall; ++i) {
      auto* topic = request.add_topics();
      topic->set_name("topic-" + std::to_string(topics.size() + i));
      topic->set_partition_count(kPartitionsPerTopic);
      topic->set_replication_factor(3);
    }
    const v1::CreateTopicsResponse created = cluster.Create(request);
    for (const auto& result : created.results()) {
      topics.push_back(*TopicId::FromBytes(result.id()));
    }
  }
  std::vector<CommittedEntry> entries;
  size_t records = 0;
  for (const auto& entry : cluster.log()) {
    records += static_cast<size_t>(entry.batch.records_size());
    entries.push_back(
        {entry.offset, entry.term, entry.batch.SerializeAsString()});
  }
  LogIndex offset = cluster.log().back().offset;
  auto image = cluster.shared();
  for (int epoch = 1; records < kRecords; ++epoch) {
    for (const TopicId& topic : topics) {
      internal::v1::MetadataBatch batch;
      for (int p = 0; p < kPartitionsPerTopic; ++p) {
        const PartitionImage& now = *image->FindPartition(
            {topic, PartitionIndex(p)});
        auto* change = batch.add_records()->mutable_partition_change();
        change->set_topic_id(topic.ToBytes());
        change->set_partition(p);
        change->set_partition_epoch(now.partition_epoch.value() + 1);
        // Its last replica leaves, then comes back.
        const size_t members = epoch % 2 == 1 ? 2 : 3;
        for (size_t i = 0; i < members; ++i) {
          change->mutable_isr()->add_ids(now.replicas[i].value());
          change->mutable_last_full_isr()->add_ids(now.replicas[i].value());
        }
      }
      offset = offset.Next();
      auto applied = ApplyBatch(*image, batch, offset, Term(1));
      EXPECT_TRUE(applied.ok()) << applied.status();
      image = applied->image;
      records += kPartitionsPerTopic;
      entries.push_back({offset, Term(1), batch.SerializeAsString()});
    }
  }
  std::printf("%zu records in %zu batches\n", records, entries.size());
  *last = image;
  return entries;
}

TEST(ReplayTest, AHundredThousandRecordsGiveTheImageTheyCameFrom) {
  TestCluster cluster;
  std::shared_ptr<const MetadataImage> want;
  const std::vector<CommittedEntry> entries = History(cluster, &want);

  SimWorld world;
  const auto executor = world.NewExecutor();
  FakeMetadataLog log(executor.get());
  DecisionPipeline pipeline(&log);
  const double begin_s = CpuSeconds();
  for (const CommittedEntry& entry : entries) {
    internal::v1::MetadataBatch parsed;
    const auto changes = pipeline.Commit(entry, &parsed);
    ASSERT_TRUE(changes.ok()) << changes.status();
  }
  std::printf("replayed in %.0f ms of CPU\n", 1000 * (CpuSeconds() - begin_s));

  const MetadataImage& got = *pipeline.committed();
  EXPECT_EQ(got.offset(), want->offset());
  ASSERT_EQ(got.partition_count(), want->partition_count());
  for (const auto& [id, topic] : want->topics()) {
    const TopicImage* same = got.FindTopic(id);
    ASSERT_NE(same, nullptr);
    for (const auto& [index, partition] : topic->partitions) {
      const PartitionImage& replayed = *got.FindPartition({id, index});
      EXPECT_EQ(replayed.partition_epoch, partition->partition_epoch);
      EXPECT_EQ(replayed.isr, partition->isr);
    }
  }
}

}  // namespace
}  // namespace sluice
