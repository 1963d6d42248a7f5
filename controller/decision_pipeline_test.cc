#include "controller/decision_pipeline.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/controller_testing.h"
#include "controller/metadata/control_result.h"

namespace sluice {
namespace {

using internal::v1::MetadataBatch;

class DecisionPipelineTest : public testing::Test {
 protected:
  DecisionPipelineTest() {
    log_.Start({[this](CommittedEntry entry) {
                  MetadataBatch parsed;
                  const auto changes = pipeline_.Commit(entry, &parsed);
                  EXPECT_TRUE(changes.ok()) << changes.status();
                },
                [](const MetadataLogRole&) {}});
  }
  void Lead(int term) {
    log_.Lead(Term(term));
    pipeline_.Begin(Term(term));
  }
  void Depose(int term) {
    log_.Depose(Term(term), NodeId(2));
    pipeline_.End(MakeError(ErrorCode::kNotController, "deposed"));
  }
  static MetadataBatch Topic(uint64_t number, size_t padding = 0) {
    MetadataBatch batch;
    auto* topic = batch.add_records()->mutable_topic();
    topic->set_id(Uuid(7, number).ToBytes());
    topic->set_name("t" + std::to_string(number));
    topic->set_kind(internal::v1::TopicRecord::KIND_USER);
    if (padding > 0) {
      auto* config = batch.add_records()->mutable_config();
      config->set_resource_type(
          internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
      config->set_resource_name(topic->name());
      config->set_key("pad");
      config->set_value(std::string(padding, 'x'));
    }
    return batch;
  }
  void Level() {
    MetadataBatch batch;
    batch.add_records()->mutable_feature_level()->set_level(1);
    Propose(batch);
    Run();
  }
  void Propose(MetadataBatch batch) {
    const size_t slot = answers_.size();
    answers_.emplace_back("waiting");
    pipeline_.Propose(std::move(batch),
                      [this, slot](absl::StatusOr<LogIndex> answer) {
                        EXPECT_EQ(answers_[slot], "waiting") << "twice";
                        answers_[slot] =
                            answer.ok() ? StrCat("at ", *answer)
                                        : std::string(NameOf(
                                              CodeOf(answer.status())));
                      });
  }
  std::string Confirm() {
    auto slot = std::make_shared<std::string>("waiting");
    confirmed_ = slot;
    pipeline_.Confirm([slot](absl::Status status) {
      *slot = status.ok() ? "ok" : std::string(NameOf(CodeOf(status)));
    });
    return *slot;
  }
  void Run() { world_.RunFor(100'000); }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeMetadataLog log_{executor_.get()};
  DecisionPipeline pipeline_{&log_};
  std::vector<std::string> answers_;
  std::shared_ptr<std::string> confirmed_;
};

TEST_F(DecisionPipelineTest, LaterDecisionsSeeEarlierOnesBeforeTheyCommit) {
  Lead(1);
  Level();
  log_.Hold();
  Propose(Topic(1));
  EXPECT_NE(pipeline_.latest()->FindTopic("t1"), nullptr);
  EXPECT_EQ(pipeline_.committed()->FindTopic("t1"), nullptr);
  Propose(Topic(2));
  EXPECT_NE(pipeline_.latest()->FindTopic("t2"), nullptr);
  EXPECT_EQ(answers_[1], "waiting");
  log_.Release();
  Run();
  EXPECT_EQ(answers_[1], "at 4");
  EXPECT_EQ(answers_[2], "at 5");
  EXPECT_EQ(pipeline_.latest(), pipeline_.committed());
}

TEST_F(DecisionPipelineTest, AnsweredOnlyWhenCommittedHoldsIt) {
  Lead(1);
  Level();
  bool held = false;
  pipeline_.Propose(Topic(1), [&](absl::StatusOr<LogIndex> answer) {
    ASSERT_TRUE(answer.ok());
    held = pipeline_.committed()->FindTopic("t1") != nullptr &&
           pipeline_.committed()->offset() == *answer;
  });
  Run();
  EXPECT_TRUE(held);
}

TEST_F(DecisionPipelineTest, WhatReplayRefusesIsNeverProposed) {
  Lead(1);
  Level();
  Propose(Topic(1));
  Run();
  const size_t before = log_.proposals();
  MetadataBatch unknown;
  unknown.add_records();  // a record of no type
  Propose(unknown);
  EXPECT_EQ(answers_[2], "UNKNOWN_SERVER_ERROR");
  EXPECT_EQ(log_.proposals(), before);
}

TEST_F(DecisionPipelineTest, NotActiveIsSaidAtOnce) {
  Propose(Topic(1));
  EXPECT_EQ(answers_[0], "NOT_CONTROLLER");
  EXPECT_EQ(Confirm(), "NOT_CONTROLLER");
  EXPECT_EQ(log_.proposals(), 0u);
}

TEST_F(DecisionPipelineTest, WhatWasUnderWayAtADepositionIsUnknown) {
  Lead(1);
  Level();
  log_.Hold();
  Propose(Topic(1));
  Depose(2);
  EXPECT_EQ(answers_[1], "OUTCOME_UNKNOWN");
  EXPECT_EQ(pipeline_.latest(), pipeline_.committed());
  EXPECT_EQ(pipeline_.latest()->FindTopic("t1"), nullptr);
  // The next leader may have it after all (RA6).
  log_.DeliverForeign(Topic(1).SerializeAsString());
  EXPECT_NE(pipeline_.committed()->FindTopic("t1"), nullptr);
  Run();
  EXPECT_EQ(answers_[1], "OUTCOME_UNKNOWN");
}

TEST_F(DecisionPipelineTest, ARefusalOfTheLogIsAnsweredAndChangesNothing) {
  Lead(1);
  Level();
  log_.refusal = MakeError(ErrorCode::kBusy, "full");
  Propose(Topic(1));
  EXPECT_EQ(answers_[1], "BUSY");
  EXPECT_EQ(pipeline_.latest(), pipeline_.committed());
  log_.refusal.reset();
  Propose(Topic(1));
  Run();
  EXPECT_EQ(answers_[2], "at 4");
}

TEST_F(DecisionPipelineTest, SoManyUnderWayAreTheLimit) {
  Lead(1);
  Level();
  log_.Hold();
  for (size_t i = 0; i < DecisionPipeline::kPendingBatchesMax; ++i) {
    Propose(Topic(i + 1));
  }
  EXPECT_EQ(answers_.back(), "waiting");
  Propose(Topic(1'000'000));
  EXPECT_EQ(answers_.back(), "BUSY");
  log_.Release();
  Run();
  Propose(Topic(1'000'000));
  Run();
  EXPECT_EQ(answers_.back().substr(0, 3), "at ");
}

// MD: a batch over the limit goes in several, in order, answered by the last.
TEST_F(DecisionPipelineTest, ALargeDecisionGoesInPiecesInOrder) {
  Lead(1);
  Level();
  MetadataBatch large;
  for (uint64_t i = 1; i <= 12; ++i) {
    large.MergeFrom(Topic(i, 1 << 20));
  }
  const size_t before = log_.proposals();
  Propose(large);
  Run();
  EXPECT_EQ(log_.proposals(), before + 2);
  EXPECT_EQ(answers_[1], "at 5");
  for (uint64_t i = 1; i <= 12; ++i) {
    EXPECT_NE(pipeline_.committed()->FindTopic("t" + std::to_string(i)),
              nullptr);
  }
}

TEST_F(DecisionPipelineTest, ConfirmWaitsForWhatItWasDecidedOn) {
  Lead(1);
  Level();
  log_.Hold();
  Propose(Topic(1));
  Confirm();
  Run();
  EXPECT_EQ(*confirmed_, "waiting");
  log_.Release();
  Run();
  EXPECT_EQ(*confirmed_, "ok");
}

// RA14, F22: a deposed leader that does not know it yet refuses nothing.
TEST_F(DecisionPipelineTest, ConfirmOfADeposedLeaderIsNoConfirmation) {
  Lead(1);
  Level();
  log_.Hold();
  Confirm();
  Run();
  EXPECT_EQ(*confirmed_, "waiting");
  Depose(2);
  EXPECT_EQ(*confirmed_, "NOT_CONTROLLER");
}

TEST_F(DecisionPipelineTest, AnUnreadableEntryStopsTheNode) {
  Lead(1);
  MetadataBatch parsed;
  const auto changes =
      pipeline_.Commit({LogIndex(3), Term(1), "\xff\xff"}, &parsed);
  EXPECT_EQ(CodeOf(changes.status()), ErrorCode::kUnsupportedFormat);
}

TEST(SplitBatchTest, KeepsOrderTimeAndLimits) {
  MetadataBatch batch;
  batch.set_timestamp_ms(5);
  for (int i = 0; i < 10; ++i) {
    batch.add_records()->mutable_topic()->set_name(std::string(100, 'a') +
                                                   std::to_string(i));
  }
  const auto pieces = SplitBatch(batch, 300);
  ASSERT_EQ(pieces.size(), 5u);
  int next = 0;
  for (const MetadataBatch& piece : pieces) {
    EXPECT_LE(piece.ByteSizeLong(), 300u);
    EXPECT_EQ(piece.timestamp_ms(), 5);
    for (const auto& record : piece.records()) {
      EXPECT_EQ(record.topic().name().substr(100), std::to_string(next++));
    }
  }
  EXPECT_EQ(next, 10);
  EXPECT_EQ(SplitBatch(batch, 1).size(), 10u);  // at least one record each
}

}  // namespace
}  // namespace sluice
