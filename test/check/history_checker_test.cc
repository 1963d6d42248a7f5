// Each flaw by a history that has it and no other, and beside it what comes
// near and is none.
#include "test/check/history_checker.h"

#include <gtest/gtest.h>

namespace sluice::check {
namespace {

// A history of one partition, told in order. A value's hash is its number.
class Story {
 public:
  Story() { partition_ = history.PartitionOf("orders-0"); }

  static Value V(int64_t number, int32_t producer = 1) {
    return {{producer, number}, static_cast<uint64_t>(number)};
  }

  Story& SendOf(int32_t producer, int64_t number, int64_t at_us,
                int32_t acks = -1) {
    Send send;
    send.value = V(number, producer);
    send.partition = partition_;
    send.acks = acks;
    send.invoked_us = at_us;
    EXPECT_TRUE(history.AddSend(send).ok());
    return *this;
  }
  Story& Sent(int64_t number, int64_t at_us, int32_t acks = -1) {
    return SendOf(1, number, at_us, acks);
  }
  Story& Again(int64_t number) {
    EXPECT_TRUE(history.AddAttempts(Index(1, number), 1).ok());
    return *this;
  }
  Story& OkOf(int32_t producer, int64_t number, int64_t at_us, int64_t offset,
              int32_t epoch = 1) {
    EXPECT_TRUE(history
                    .EndSend(Index(producer, number), SendOutcome::kOk, at_us,
                             offset, epoch)
                    .ok());
    return *this;
  }
  Story& Ok(int64_t number, int64_t at_us, int64_t offset, int32_t epoch = 1) {
    return OkOf(1, number, at_us, offset, epoch);
  }
  Story& End(int64_t number, SendOutcome outcome, int64_t at_us) {
    EXPECT_TRUE(history.EndSend(Index(1, number), outcome, at_us).ok());
    return *this;
  }
  // Sent and acknowledged at the offset of its number.
  Story& Stored(int64_t from, int64_t to, int32_t epoch = 1) {
    for (int64_t i = from; i < to; ++i) {
      Sent(i, 10 * i).Ok(i, 10 * i + 5, i, epoch);
    }
    return *this;
  }
  Story& Answered(Answer::Kind kind, int64_t began_us, int64_t ended_us,
                  int32_t epoch, int64_t high_watermark) {
    EXPECT_TRUE(history
                    .AddAnswer({kind, partition_, began_us, ended_us, epoch,
                                high_watermark})
                    .ok());
    return *this;
  }
  Story& Session(int64_t start) {
    EXPECT_TRUE(history.AddSession({7, partition_, start}).ok());
    return *this;
  }
  Story& Polled(int64_t from, int64_t next, std::vector<StoredRecord> records) {
    EXPECT_TRUE(history
                    .AddPoll(std::ssize(history.sessions()) - 1, from, next,
                             records)
                    .ok());
    return *this;
  }
  Story& Copied(int32_t replica, int64_t end, std::vector<StoredRecord> records,
                int64_t log_start = 0) {
    EXPECT_TRUE(history.AddCopy(partition_, replica, log_start, end).ok());
    EXPECT_TRUE(history.AddToLastCopy(records).ok());
    return *this;
  }
  Story& Final(int64_t end, std::vector<StoredRecord> records) {
    return Copied(Copy::kFinalRead, end, std::move(records));
  }

  History history;

 private:
  size_t Index(int32_t producer, int64_t number) const {
    return static_cast<size_t>(history.IndexOf({producer, number}));
  }

  int32_t partition_ = 0;
};

StoredRecord R(int64_t offset, int64_t number, int32_t epoch = 1) {
  return {offset, epoch, Story::V(number)};
}
constexpr auto kFetch = Answer::Kind::kFetch;
constexpr auto kLatest = Answer::Kind::kLatest;

// That flaw, so often, and no other.
void ExpectOnly(const Story& story, Flaw flaw, int64_t times = 1,
                const HistoryScope& scope = {}) {
  const HistoryVerdict verdict = CheckHistory(story.history, scope);
  for (size_t i = 0; i < kFlawCount; ++i) {
    EXPECT_EQ(verdict.flaws[i], i == static_cast<size_t>(flaw) ? times : 0)
        << kFlawNames[i] << "\n" << verdict.ToTable();
  }
  EXPECT_FALSE(verdict.passed());
  ASSERT_FALSE(verdict.examples.empty());
  EXPECT_EQ(verdict.examples[0].rfind(
                std::string(kFlawNames[static_cast<size_t>(flaw)]) +
                    " orders-0: ", 0), 0u)
      << verdict.examples[0];
}

HistoryVerdict ExpectNone(const Story& story, const HistoryScope& scope = {}) {
  const HistoryVerdict verdict = CheckHistory(story.history, scope);
  EXPECT_TRUE(verdict.passed()) << verdict.ToTable() << verdict.examples[0];
  return verdict;
}

TEST(HistoryCheckerTest, AQuietRunHasNoFlawAndIsCounted) {
  const HistoryVerdict verdict = ExpectNone(
      Story().Stored(0, 3)
          .Answered(kFetch, 1, 2, 1, 0).Answered(kFetch, 30, 31, 1, 3)
          .Session(0).Polled(0, 2, {R(0, 0), R(1, 1)}).Polled(2, 3, {R(2, 2)})
          .Copied(1, 3, {R(0, 0), R(1, 1), R(2, 2)})
          .Final(3, {R(0, 0), R(1, 1), R(2, 2)}));
  EXPECT_EQ(verdict.acked, 3);
  EXPECT_EQ(verdict.answers, 2);
  EXPECT_EQ(verdict.records_polled, 3);
  EXPECT_EQ(verdict.records_copied, 6);
}

TEST(HistoryCheckerTest, Lost) {
  ExpectOnly(Story().Stored(0, 2).Sent(2, 30).Final(2, {R(0, 0), R(1, 2)}),
             Flaw::kLost);
  // Deleted in order: the log starts above it.
  ExpectNone(Story().Stored(0, 2).Copied(Copy::kFinalRead, 2, {R(1, 1)}, 1),
             {.deleted_below = {{0, 1}}});
}

TEST(HistoryCheckerTest, ACopyElsewhereDoesNotSaveWhatWasAcknowledgedHere) {
  ExpectOnly(Story().Sent(0, 0).Sent(1, 1).Again(0).Ok(0, 5, 0)
                 .Final(2, {R(0, 1), R(1, 0)}),
             Flaw::kLost);
}

TEST(HistoryCheckerTest, LostTail) {
  ExpectOnly(Story().Stored(0, 3).Final(2, {R(0, 0), R(1, 1)}),
             Flaw::kLostTail);
  ExpectNone(Story().Stored(0, 2).Sent(2, 30).Final(2, {R(0, 0), R(1, 1)}));
}

TEST(HistoryCheckerTest, OneReplicaThatLacksTheTailIsEnough) {
  ExpectOnly(Story().Stored(0, 2).Copied(1, 2, {R(0, 0), R(1, 1)})
                 .Copied(2, 1, {R(0, 0)}),
             Flaw::kLostTail);
}

TEST(HistoryCheckerTest, WhatOneOrNobodyAcknowledgedMayGo) {
  const HistoryVerdict verdict = ExpectNone(
      Story().Stored(0, 1).Sent(1, 20, 1).Ok(1, 25, 1)
          .Sent(2, 30, 0).Ok(2, 35, kOffsetUnknown)
          .Copied(1, 1, {R(0, 0)}).Final(1, {R(0, 0)}));
  EXPECT_EQ(verdict.weak_losses, 2);
  EXPECT_EQ(verdict.acked_weak, 2);
}

TEST(HistoryCheckerTest, Dup) {
  ExpectOnly(Story().Stored(0, 1).Final(2, {R(0, 0), R(1, 0)}), Flaw::kDup);
  EXPECT_EQ(ExpectNone(Story().Stored(0, 1).Again(0)
                           .Final(2, {R(0, 0), R(1, 0)}))
                .duplicates_explained,
            1);
  ExpectOnly(Story().Stored(0, 1).Again(0)
                 .Final(3, {R(0, 0), R(1, 0), R(2, 0)}),
             Flaw::kDup);
}

TEST(HistoryCheckerTest, Reorder) {
  // Both under way at once, so that no clock has a say.
  ExpectOnly(Story().Sent(0, 0).Sent(1, 1).Ok(1, 10, 0).Ok(0, 11, 1)
                 .Final(2, {R(0, 1), R(1, 0)}),
             Flaw::kReorder);
  // The first one's producer had given it up: it may come late.
  ExpectNone(Story().Sent(0, 0).Sent(1, 1).End(0, SendOutcome::kUnknown, 5)
                 .Ok(1, 10, 0).Final(2, {R(0, 1), R(1, 0)}));
  // Its second copy comes behind.
  ExpectNone(Story().Sent(0, 0).Again(0).Sent(1, 1).Ok(0, 10, 0).Ok(1, 11, 1)
                 .Final(3, {R(0, 0), R(1, 1), R(2, 0)}));
  // Other producers have numbers of their own.
  ExpectNone(Story().SendOf(1, 5, 0).SendOf(2, 1, 1).OkOf(1, 5, 10, 0)
                 .OkOf(2, 1, 10, 1)
                 .Final(2, {R(0, 5), {1, 1, Story::V(1, 2)}}));
}

TEST(HistoryCheckerTest, RealTime) {
  const auto told = [](int64_t second_sent_us) {
    return Story().SendOf(1, 0, 0).OkOf(1, 0, 10, 1)
        .SendOf(2, 0, second_sent_us).OkOf(2, 0, 30, 0)
        .Final(2, {{0, 1, Story::V(0, 2)}, R(1, 0)});
  };
  ExpectOnly(told(11), Flaw::kRealtime);
  ExpectNone(told(10));
}

TEST(HistoryCheckerTest, Gap) {
  ExpectOnly(Story().Sent(0, 0).Ok(0, 1, 0).Sent(2, 2).Ok(2, 3, 2)
                 .Final(3, {R(0, 0), R(2, 2)}),
             Flaw::kGap);
  ExpectOnly(Story().Sent(0, 0).Ok(0, 1, 0).Final(2, {R(0, 0)}), Flaw::kGap);
  ExpectOnly(Story().Stored(0, 3).Session(0).Polled(0, 3, {R(0, 0), R(2, 2)})
                 .Final(3, {R(0, 0), R(1, 1), R(2, 2)}),
             Flaw::kGap);
}

TEST(HistoryCheckerTest, Divergent) {
  const auto story = [] { return Story().Sent(0, 0).Sent(1, 0); };
  ExpectOnly(story().Copied(1, 1, {R(0, 0)}).Copied(2, 1, {R(0, 1)}),
             Flaw::kDivergent);
  ExpectOnly(story().Session(0).Polled(0, 1, {R(0, 0)}).Final(1, {R(0, 1)}),
             Flaw::kDivergent);
  ExpectOnly(story().Copied(1, 1, {R(0, 0, 1)}).Copied(2, 1, {R(0, 0, 2)}),
             Flaw::kDivergent);
  ExpectNone(story().Copied(1, 1, {R(0, 0, 1)})
                 .Copied(2, 1, {R(0, 0, kEpochUnknown)}));
}

TEST(HistoryCheckerTest, Phantom) {
  ExpectOnly(Story().Stored(0, 1).Final(2, {R(0, 0), R(1, 9)}),
             Flaw::kPhantom);
  Story elsewhere;
  Send send;
  send.value = Story::V(9);
  send.partition = elsewhere.history.PartitionOf("orders-1");
  ASSERT_TRUE(elsewhere.history.AddSend(send).ok());
  ExpectOnly(elsewhere.Stored(0, 1).Final(2, {R(0, 0), R(1, 9)}),
             Flaw::kPhantom);
}

TEST(HistoryCheckerTest, Torn) {
  StoredRecord other = R(0, 0);
  other.value.hash ^= 1;
  ExpectOnly(Story().Stored(0, 1).Final(1, {other}), Flaw::kTorn);
}

TEST(HistoryCheckerTest, FailedButRead) {
  const auto told = [](SendOutcome outcome) {
    return Story().Sent(0, 0).End(0, outcome, 5).Final(1, {R(0, 0)});
  };
  ExpectOnly(told(SendOutcome::kFailed), Flaw::kFailedButRead);
  ExpectNone(told(SendOutcome::kUnknown));
}

TEST(HistoryCheckerTest, Stale) {
  const auto told = [](Answer::Kind kind, int64_t began_us, int32_t epoch,
                       int64_t high_watermark) {
    return Story().Stored(0, 2, 3)
        .Final(2, {R(0, 0, 3), R(1, 1, 3)})
        .Answered(kind, began_us, began_us + 1, epoch, high_watermark);
  };
  ExpectOnly(told(kFetch, 16, 3, 1), Flaw::kStale);
  ExpectOnly(told(kLatest, 16, 3, 1), Flaw::kStale);
  ExpectOnly(told(kLatest, 16, 4, 1), Flaw::kStale);
  ExpectNone(told(kFetch, 15, 3, 1));  // asked when the ack came
  ExpectNone(told(kFetch, 16, 3, 2));
  EXPECT_EQ(ExpectNone(told(kFetch, 16, 4, 1)).early_answers, 1);
  EXPECT_EQ(ExpectNone(told(kLatest, 16, 2, 1)).deposed_answers, 1);
  EXPECT_EQ(ExpectNone(told(kLatest, 16, kEpochUnknown, 1))
                .answers_without_epoch,
            1);
}

TEST(HistoryCheckerTest, ANewLeaderThatCommittedItsOwnKnowsAll) {
  const Story story =
      Story().Stored(0, 2, 3).Stored(2, 3, 4)
          .Final(3, {R(0, 0, 3), R(1, 1, 3), R(2, 2, 4)})
          .Answered(kFetch, 26, 27, 4, 1);
  ExpectOnly(story, Flaw::kStale);
}

// Epoch 3 appended it and was paused before it could answer; epoch 4 knew it
// again when it was sent again.
TEST(HistoryCheckerTest, WhoAcknowledgedItMustKnowItWhoeverAppendedIt) {
  const auto told = [](Answer::Kind kind, int32_t epoch) {
    return Story().Stored(0, 1, 3).Sent(1, 10).Ok(1, 15, 1, 4)
        .Final(2, {R(0, 0, 3), R(1, 1, 3)})
        .Answered(kind, 16, 17, epoch, 1);
  };
  EXPECT_EQ(ExpectNone(told(kFetch, 3)).deposed_answers, 1);
  EXPECT_EQ(ExpectNone(told(kLatest, 3)).deposed_answers, 1);
  ExpectOnly(told(kFetch, 4), Flaw::kStale);
  ExpectOnly(told(kLatest, 4), Flaw::kStale);
  ExpectOnly(told(kLatest, 5), Flaw::kStale);
  EXPECT_EQ(ExpectNone(told(kFetch, 5)).early_answers, 1);
}

// The same pause, and the old leader forgets what it had acknowledged itself.
TEST(HistoryCheckerTest, ADeposedLeaderMustKnowWhatItAcknowledgedItself) {
  const auto told = [](int64_t high_watermark) {
    return Story().Stored(0, 1, 3).Sent(1, 10).Ok(1, 15, 1, 4)
        .Final(2, {R(0, 0, 3), R(1, 1, 3)})
        .Answered(kFetch, 16, 17, 3, high_watermark);
  };
  ExpectOnly(told(0), Flaw::kStale);
  ExpectNone(told(1));
}

// It acknowledged one again that lies far below: of those above it that its
// predecessor acknowledged a fetch need not know yet.
TEST(HistoryCheckerTest, AnOldRecordAcknowledgedAgainProvesNoMore) {
  const auto told = [](Answer::Kind kind, int64_t high_watermark) {
    return Story().Sent(0, 0).Sent(1, 1).Ok(1, 10, 1, 3).Ok(0, 15, 0, 4)
        .Final(2, {R(0, 0, 3), R(1, 1, 3)})
        .Answered(kind, 16, 17, 4, high_watermark);
  };
  EXPECT_EQ(ExpectNone(told(kFetch, 1)).early_answers, 1);
  ExpectOnly(told(kFetch, 0), Flaw::kStale);
  ExpectOnly(told(kLatest, 1), Flaw::kStale);
}

TEST(HistoryCheckerTest, NobodyIsHeldToWhatNobodyIsKnownToHaveAcknowledged) {
  const HistoryVerdict verdict = ExpectNone(
      Story().Sent(0, 0).Ok(0, 5, 0, kEpochUnknown).Final(1, {R(0, 0, 3)})
          .Answered(kLatest, 6, 7, 3, 0));
  EXPECT_EQ(verdict.acks_without_epoch, 1);
}

TEST(HistoryCheckerTest, NonMono) {
  const auto final_read = [](Story story) {
    return story.Final(3, {R(0, 0), R(1, 1), R(2, 2)});
  };
  ExpectOnly(final_read(Story().Stored(0, 3).Session(0)
                            .Polled(0, 2, {R(0, 0), R(1, 1)})
                            .Polled(1, 3, {R(1, 1), R(2, 2)})),
             Flaw::kNonMono);
  ExpectOnly(final_read(Story().Stored(0, 3).Session(0)
                            .Polled(0, 1, {R(0, 0)}).Polled(2, 3, {R(2, 2)})),
             Flaw::kNonMono);
  ExpectOnly(final_read(Story().Stored(0, 3).Session(1).Polled(0, 1, {R(0, 0)})),
             Flaw::kNonMono);
  // A new assignment begins anew; an unknown start anywhere.
  ExpectNone(final_read(Story().Stored(0, 3).Session(0)
                            .Polled(0, 2, {R(0, 0), R(1, 1)}).Session(1)
                            .Polled(1, 3, {R(1, 1), R(2, 2)})
                            .Session(kOffsetUnknown).Polled(2, 3, {R(2, 2)})));
}

TEST(HistoryCheckerTest, HwBack) {
  const auto told = [](Answer::Kind kind, int64_t began_us, int32_t epoch) {
    return Story().Answered(kFetch, 0, 10, 3, 5).Answered(kind, began_us, 30,
                                                          epoch, 4);
  };
  ExpectOnly(told(kFetch, 11, 3), Flaw::kHwBack);
  ExpectOnly(told(kLatest, 11, 4), Flaw::kHwBack);
  ExpectNone(told(kFetch, 10, 3));  // both were under way
  ExpectNone(told(kFetch, 11, 4));
  ExpectNone(told(kLatest, 11, 2));
}

TEST(HistoryCheckerTest, Unjudged) {
  ExpectOnly(Story().Stored(0, 1), Flaw::kUnjudged);
  ExpectNone(Story().Sent(0, 0).Sent(1, 0, 1).Ok(1, 5, 0));
}

// ---- What a history does not say itself ----

TEST(HistoryScopeTest, BeforeTheEndNobodyHasLooked) {
  ExpectNone(Story().Stored(0, 1), {.is_over = false});
  ExpectOnly(Story().Stored(0, 2).Session(0).Polled(0, 2, {R(0, 0), R(1, 7)}),
             Flaw::kPhantom, 1, {.is_over = false});
}

TEST(HistoryScopeTest, WhatWasDeletedIsNotMissed) {
  const HistoryScope scope{.deleted_below = {{0, 2}}};
  const auto read_from = [](int64_t from) {
    Story story;
    story.Stored(0, 5).Session(0);
    std::vector<StoredRecord> rest;
    for (int64_t i = from; i < 5; ++i) rest.push_back(R(i, i));
    story.Polled(from, 5, rest).Copied(Copy::kFinalRead, 5, rest, from);
    return story;
  };
  ExpectNone(read_from(2), scope);
  ExpectNone(read_from(1), scope);  // it may be there still
  // One more than was deleted, and the reader was moved past it.
  for (const HistoryVerdict& verdict :
       {CheckHistory(read_from(1).history),
        CheckHistory(read_from(3).history, scope)}) {
    EXPECT_EQ(verdict.count(Flaw::kNonMono), 1);
    EXPECT_EQ(verdict.count(Flaw::kGap), 1);
    EXPECT_EQ(verdict.count(Flaw::kLost), 1);
  }
}

TEST(HistoryScopeTest, ALogThatBeginsLaterHasLostWhatNobodyDeleted) {
  Story story;
  story.Stored(0, 3).Copied(1, 3, {R(2, 2)}, 2);
  story.Copied(Copy::kFinalRead, 3, {R(2, 2)}, 2);
  const HistoryVerdict verdict = CheckHistory(story.history);
  EXPECT_EQ(verdict.count(Flaw::kLost), 4);  // two, in two copies
  EXPECT_EQ(verdict.count(Flaw::kGap), 2);
  ExpectNone(Story().Stored(0, 3).Copied(1, 3, {R(2, 2)}, 2),
             {.deleted_below = {{0, 2}}});
  // All of it is gone, and the log says that it begins at its end.
  ExpectOnly(Story().Sent(0, 0, /*acks=*/1).Copied(1, 3, {}, 3), Flaw::kGap);
}

TEST(HistoryScopeTest, WhatLiesAboveIsJudged) {
  const HistoryScope scope{.deleted_below = {{0, 2}}};
  // The log goes on at 2, the copy begins at 3.
  Story story;
  story.Stored(0, 5).Copied(Copy::kFinalRead, 5, {R(3, 3), R(4, 4)}, 2);
  const HistoryVerdict verdict = CheckHistory(story.history, scope);
  EXPECT_EQ(verdict.count(Flaw::kGap), 1);
  EXPECT_EQ(verdict.count(Flaw::kLost), 1);
  ExpectOnly(Story().Stored(0, 5).Copied(Copy::kFinalRead, 4,
                                         {R(2, 2), R(3, 3)}, 2),
             Flaw::kLostTail, 1, scope);
}

TEST(HistoryScopeTest, WhoForgotWhatWasDeletedStoresItAgain) {
  const auto kept_from = [](int64_t start, std::vector<StoredRecord> kept) {
    Story story;
    story.Stored(0, 3).Session(0);
    story.Polled(0, 3, {R(0, 0), R(1, 1), R(2, 2)}).Polled(3, 4, {R(3, 1)});
    story.Copied(Copy::kFinalRead, 4, std::move(kept), start);
    return story;
  };
  ExpectNone(kept_from(2, {R(2, 2), R(3, 1)}), {.deleted_below = {{0, 2}}});
  ExpectOnly(kept_from(1, {R(1, 1), R(2, 2), R(3, 1)}), Flaw::kDup, 1,
             {.deleted_below = {{0, 1}}});
}

// An offset may be another record's in a later epoch, not in the same one.
TEST(HistoryScopeTest, WhereRecordsWereGivenUpAnEpochHasOneRecordAnOffset) {
  const auto seen = [](int32_t epoch, int64_t second) {
    Story story;
    story.Stored(0, 2).Session(0);
    StoredRecord other = R(0, second);
    other.epoch = epoch;
    story.Polled(0, 1, {R(0, 0)}).Final(1, {other});
    return story;
  };
  const HistoryScope scope{.given_up = {0}};
  const int32_t epoch = R(0, 0).epoch;
  EXPECT_EQ(CheckHistory(seen(epoch + 1, 1).history, scope).examples.size(), 0u);
  Story unknown;
  StoredRecord first = R(0, 0), second = R(0, 1);
  first.epoch = second.epoch = -1;
  unknown.Stored(0, 2).Session(0).Polled(0, 1, {first}).Final(1, {second});
  EXPECT_EQ(CheckHistory(unknown.history, scope).examples.size(), 0u);
  ExpectOnly(seen(epoch, 1), Flaw::kDivergent, 1, scope);
  ExpectOnly(seen(epoch + 1, 7), Flaw::kPhantom, 1, scope);
}

TEST(HistoryScopeTest, WhereRecordsWereGivenUpTheyMayBeGone) {
  Story story;
  story.Stored(0, 2).Final(1, {R(0, 0)});
  const int32_t other = story.history.PartitionOf("orders-1");
  ASSERT_TRUE(story.history.AddCopy(other, 1, 0, 1).ok());
  EXPECT_EQ(CheckHistory(story.history).count(Flaw::kLostTail), 1);
  const HistoryVerdict verdict =
      CheckHistory(story.history, {.given_up = {0}});
  EXPECT_EQ(verdict.count(Flaw::kLostTail), 0);
  EXPECT_EQ(verdict.count(Flaw::kGap), 1);  // of the other one
  EXPECT_EQ(verdict.acked, 0);
}

TEST(HistoryCheckerTest, ExamplesAreFewAndCountsWhole) {
  std::vector<StoredRecord> phantoms;
  for (int64_t i = 0; i < 50; ++i) phantoms.push_back(R(i, i));
  const Story story = Story().Final(50, phantoms);
  const HistoryVerdict verdict = CheckHistory(story.history);
  EXPECT_EQ(verdict.count(Flaw::kPhantom), 50);
  EXPECT_EQ(verdict.examples.size(), HistoryVerdict::kExamplesMax);
  EXPECT_EQ(verdict.examples[0],
            "PHANTOM orders-0: the final read has 1:0#0 at 0, which nobody "
            "sent");
}

}  // namespace
}  // namespace sluice::check
