// correctness.md 3.2 and 3.4: what brokers and clients learn of the metadata.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "controller/metadata/internal_topics.h"
#include "test/scenario/scenario.h"
#include "test/sim/sim_load.h"

namespace sluice::scenario {
namespace {

// Of the controllers that run.
LogIndex HighestCommit(Scenario& s) {
  LogIndex highest{0};
  for (const int id : s.sim().controller_ids()) {
    const auto& process = s.sim().at(id).controller;
    if (process == nullptr || process->raft().core() == nullptr) continue;
    highest = std::max(highest, process->raft().core()->commit_index());
  }
  return highest;
}

// F45. The active controller is cut off from the other voters, with brokers on
// its side and a proposal that will be truncated -> no broker may be ahead of
// what is committed: only committed records are shipped (MD2). Asserted after
// every event while the tail grows, is replaced and cut.
TEST(MetadataScenarios, F45NoBrokerIsAheadOfTheCommittedLog) {
  Scenario s;
  const int X = s.ActiveController();
  for (const int other : s.sim().controller_ids()) {
    if (other != X) s.Cut(X, other);
  }
  LogIndex committed = HighestCommit(s);
  const auto none_ahead = [&] {
    committed = std::max(committed, HighestCommit(s));
    return std::all_of(s.sim().nodes().begin(), s.sim().nodes().end(),
                       [&](const auto& entry) {
                         return entry.second->broker == nullptr ||
                                entry.second->broker->image()->offset() <=
                                    committed;
                       });
  };
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name("tail");
  topic->set_partition_count(1);
  topic->set_replication_factor(1);
  s.sim().at(X).controller->api().CreateTopics(request, [](const auto&) {});
  const auto tail = [&] { return s.RaftOf(X).log().last_index(); };
  s.Until("X has a tail that is not committed",
          [&] { return tail() > s.RaftOf(X).commit_index(); }, 300);
  const uint64_t truncations = s.RaftOf(X).log().truncations();
  s.Throughout(3'000, "no broker is ahead", none_ahead);
  const int Y = s.ActiveController();
  s.Expect(Y != X && Y != 0, "another controller is active");
  s.Heal();
  s.Throughout(3'000, "no broker is ahead", none_ahead);
  s.Expect(s.RaftOf(X).log().truncations() > truncations,
           "X's tail was cut");
  s.Expect(s.NewestImage().FindTopic("tail") == nullptr, "and was never applied");
  s.Converge();
}

// F72, by the id. A topic is deleted and made again under its name -> who still
// uses the old id, with or without the name, is told UNKNOWN_TOPIC_ID, to write
// and to read, and nothing of the old topic is in the new one (MD7).
TEST(MetadataScenarios, F72TheIdOfADeletedTopicIsRefused) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "old1");
  s.Produce(t, "old2");
  const TopicId old = s.NewestImage().FindTopic("t")->id;
  s.DeleteTopic("t");
  const Tp again = s.CreateTopic("t", {});
  s.Expect(s.NewestImage().FindTopic("t")->id != old, "it has another id");
  for (const int broker : {A, B, C}) {
    for (const char* name : {"", "t"}) {
      const AnswerPtr write = s.SendById(broker, old, "stray", name);
      s.UntilRefused(write, ErrorCode::kUnknownTopicId);
      s.Expect(s.FetchById(broker, old, 0, name).code ==
                   ErrorCode::kUnknownTopicId,
               "reading by the old id is refused");
    }
  }
  s.Expect(s.Produce(again, "new1") == Offset(0), "the new log begins at 0");
  s.Converge({{again, {"new1"}}});
}

// F72, by the client library. A producer and a reader have the topic cached when
// it is deleted and made again -> both find the new one by themselves; what was
// acknowledged since is there (MD7).
TEST(MetadataScenarios, F72AClientFindsATopicThatWasMadeAgain) {
  Scenario s;
  s.CreateTopic("t", {});
  ConsumerOptions reading;
  reading.reset = OffsetReset::kEarliest;
  std::vector<std::string> read;
  sim::SimClient client(&s.sim(), {}, reading);
  client.consumer().Assign({{"t", PartitionIndex(0)}});
  const std::function<void()> poll = [&] {
    client.consumer().Poll(100'000, 1 << 20, [&](const auto& batches) {
      if (CodeOf(batches.status()) == ErrorCode::kShuttingDown) return;
      s.Expect(batches.ok(), batches.status().ToString());
      for (const FetchedBatch& batch : *batches) {
        const absl::Status whole =
            ForEachRecord(batch, [&](const DecodedRecord& record) {
              read.emplace_back(*record.value);
              return true;
            });
        s.Expect(whole.ok(), whole.ToString());
      }
      poll();
    });
  };
  poll();
  int acked = 0;
  int answered = 0;
  const auto send = [&](const std::string& value) {
    ProducerRecord record;
    record.topic = "t";
    record.partition = PartitionIndex(0);
    record.value = value;
    const absl::Status taken =
        client.producer().Send(std::move(record), [&](const auto& result) {
          ++answered;
          if (result.ok()) ++acked;
        });
    s.Expect(taken.ok(), "the producer takes a record");
  };
  send("old");
  s.Until("the first is acknowledged", [&] { return acked == 1; });
  s.Until("and read", [&] { return read.size() == 1; });
  s.DeleteTopic("t");
  const Tp again = s.CreateTopic("t", {});
  s.MaySend(again, "new");
  send("new");
  s.Until("the second is answered", [&] { return answered == 2; });
  s.Expect(acked == 2, "and acknowledged");
  // As many as of the old one: no offset tells.
  s.Until("the second is read", [&] { return read.size() == 2; });
  s.Expect(read == std::vector<std::string>{"old", "new"},
           "each was read once");
  s.Converge({{again, {"new"}}});
}

// F70, where the offsets live. Internal topics are made by whoever is alive, and
// brokers that come later become replicas of them, fill and come in sync; then
// min ISR rises.
TEST(MetadataScenarios, F70ABrokerThatComesLaterHoldsTheInternalTopics) {
  Scenario s;
  const auto offsets = [&] {
    return s.NewestImage().FindTopic(kConsumerOffsetsTopic);
  };
  const auto all_have = [&](size_t replicas, size_t in_sync) {
    const TopicImage* topic = offsets();
    if (topic == nullptr || topic->partitions.empty()) return false;
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->replicas.size() != replicas ||
          partition->isr.size() != in_sync) {
        return false;
      }
    }
    return true;
  };
  s.Kill(2);
  s.Kill(3);
  s.Until("2 and 3 are fenced", [&] { return s.IsFenced(2) && s.IsFenced(3); });
  internal::v1::EnsureInternalTopicRequest request;
  request.set_name(kConsumerOffsetsTopic);
  s.sim().at(s.UntilController()).controller->api().EnsureInternalTopic(
      request, [](const auto&) {});
  s.Until("broker 1 has it alone", [&] { return all_have(1, 1); });
  const Tp t{kConsumerOffsetsTopic, 0};
  s.UntilLeader(t, 1);
  s.CutOneWay(1, 2);  // it cannot be filled
  s.Boot(2);
  s.Until("2 is a replica", [&] { return all_have(2, 1); });
  s.Throughout(2'000, "and not in sync", [&] { return all_have(2, 1); });
  s.Heal();
  s.Until("2 is in sync", [&] { return all_have(2, 2); });
  s.Expect(s.sim().configs().MinIsrOf(*offsets()) == 1, "min ISR is 1");
  s.Boot(3);
  s.Until("3 is in sync", [&] { return all_have(3, 3); });
  s.Until("min ISR is 2",
          [&] { return s.sim().configs().MinIsrOf(*offsets()) == 2; });
  s.Kill(1);
  s.Until("others lead", [&] {
    const NodeId leader = s.Committed(t).leader;
    return leader == NodeId(2) || leader == NodeId(3);
  });
  s.Converge();
}

}  // namespace
}  // namespace sluice::scenario
