// Legal runs of a model log never alarm; with one thing wrong they always do.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <tuple>

#include "common/base/random.h"
#include "test/check/history_checker.h"

namespace sluice::check {
namespace {

// A run as it is told, before it becomes a History: so that it can be spoiled.
struct Told {
  struct ToldPoll {
    int64_t session = 0;
    int64_t from = 0;
    int64_t next = 0;
    std::vector<StoredRecord> records;
  };
  struct ToldCopy {
    int32_t replica = 0;
    int64_t end = 0;
    std::vector<StoredRecord> records;
  };

  std::vector<Send> sends;
  std::vector<Answer> answers;
  std::vector<Session> sessions;
  std::vector<ToldPoll> polls;
  std::vector<ToldCopy> copies;

  HistoryVerdict Judge() const {
    History history;
    history.PartitionOf("model-0");
    for (Send send : sends) {
      const Send end = send;
      send.outcome = SendOutcome::kOpen;
      const auto index = history.AddSend(send);
      EXPECT_TRUE(index.ok()) << index.status();
      if (end.outcome == SendOutcome::kOpen) continue;
      EXPECT_TRUE(history
                      .EndSend(*index, end.outcome, end.ended_us, end.offset,
                               end.acked_epoch)
                      .ok());
    }
    for (const Answer& answer : answers) {
      EXPECT_TRUE(history.AddAnswer(answer).ok());
    }
    for (const Session& session : sessions) {
      EXPECT_TRUE(history.AddSession(session).ok());
    }
    for (const ToldPoll& poll : polls) {
      EXPECT_TRUE(history
                      .AddPoll(poll.session, poll.from, poll.next, poll.records)
                      .ok());
    }
    for (const ToldCopy& copy : copies) {
      EXPECT_TRUE(history.AddCopy(0, copy.replica, 0, copy.end).ok());
      EXPECT_TRUE(history.AddToLastCopy(copy.records).ok());
    }
    return CheckHistory(history);
  }
};

// A log that is always right: appends are committed at once or never, leaders
// change, retries leave copies or are known again by a later leader, deposed
// leaders answer with what they knew.
class ModelRun {
 public:
  ModelRun(uint64_t seed, int64_t steps) : random_(seed) {
    for (int32_t consumer = 0; consumer < kConsumers; ++consumer) {
      told_.sessions.push_back({consumer, 0, 0});
      positions_.push_back(0);
    }
    for (int64_t i = 0; i < steps; ++i) Step();
    AnswerStored();
    for (int32_t replica = 1; replica <= kReplicas; ++replica) {
      told_.copies.push_back({replica, End(), log_});
    }
    told_.copies.push_back({Copy::kFinalRead, End(), log_});
  }

  const Told& told() const { return told_; }

 private:
  static constexpr int32_t kConsumers = 2;
  static constexpr int32_t kReplicas = 3;
  static constexpr int32_t kProducers = 3;

  int64_t End() const { return std::ssize(log_); }
  int64_t Pick(int64_t count) {
    return random_.Between(0, count - 1);
  }

  void Step() {
    now_us_ += 1 + Pick(5);
    const int64_t kind = Pick(100);
    if (kind < 50) return Produce();
    if (kind < 75) return Poll();
    if (kind < 98) return Ask();
    Depose();
  }

  // Now and then with the answers to its last appends on the way: whether they
  // are committed only its successor learns.
  void Depose() {
    const int64_t known = End();
    const int64_t left = Pick(3);
    for (int64_t i = 0; i < left; ++i) {
      Send send = NewSend();
      Append(send.value);
      send.offset = End() - 1;
      unanswered_.push_back(send);
    }
    deposed_.emplace_back(epoch_, known);
    ++epoch_;
  }

  // Sent again; the leader of today finds them where they were.
  void AnswerStored() {
    for (Send& send : unanswered_) {
      send.outcome = SendOutcome::kOk;
      send.acked_epoch = epoch_;
      send.ended_us = ++now_us_;
      told_.sends.push_back(send);
    }
    unanswered_.clear();
  }

  Send NewSend() {
    Send send;
    send.value.name = {static_cast<int32_t>(Pick(kProducers)), next_number_++};
    send.value.hash = random_.Next64();
    send.invoked_us = now_us_;
    return send;
  }

  void Append(const Value& value) { log_.push_back({End(), epoch_, value}); }

  void Produce() {
    AnswerStored();
    Send send = NewSend();
    send.acks = Pick(10) == 0 ? 1 : -1;
    send.ended_us = now_us_ + 1 + Pick(3);
    const int64_t fate = Pick(20);
    if (fate == 0) {
      send.outcome = SendOutcome::kFailed;
    } else if (fate == 1) {
      send.outcome = Pick(2) == 0 ? SendOutcome::kUnknown : SendOutcome::kOpen;
      if (Pick(2) == 0) Append(send.value);
    } else {
      send.outcome = SendOutcome::kOk;
      send.acked_epoch = epoch_;
      if (fate == 2) {  // the answer to the first copy was lost
        send.attempts = 2;
        Append(send.value);
      }
      send.offset = End();
      if (fate == 3 && send.acks == 1) {  // lost with its leader
        send.offset = std::max<int64_t>(0, End() - 1);
      } else {
        Append(send.value);
      }
      // Committed before it is acknowledged, which is before anything else.
      now_us_ = send.ended_us;
    }
    told_.sends.push_back(send);
  }

  void Poll() {
    const int64_t session = Pick(kConsumers);
    int64_t& position = positions_[static_cast<size_t>(session)];
    const int64_t next = position + Pick(End() - position + 1);
    told_.polls.push_back({session, position, next,
                           {log_.begin() + position, log_.begin() + next}});
    position = next;
  }

  void Ask() {
    Answer answer;
    answer.kind = Pick(2) == 0 ? Answer::Kind::kFetch : Answer::Kind::kLatest;
    answer.began_us = now_us_;
    answer.ended_us = now_us_ + Pick(4);
    answer.leader_epoch = epoch_;
    answer.high_watermark = End();
    if (!deposed_.empty() && Pick(4) == 0) {
      std::tie(answer.leader_epoch, answer.high_watermark) =
          deposed_[static_cast<size_t>(Pick(std::ssize(deposed_)))];
    }
    told_.answers.push_back(answer);
    now_us_ = answer.ended_us;
  }

  Random random_;
  int64_t now_us_ = 0;
  int32_t epoch_ = 1;
  int64_t next_number_ = 0;
  std::vector<StoredRecord> log_;
  std::vector<Send> unanswered_;  // stored all the same
  std::vector<std::pair<int32_t, int64_t>> deposed_;
  std::vector<int64_t> positions_;
  Told told_;
};

TEST(HistoryPropertyTest, LegalRunsNeverAlarm) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const HistoryVerdict verdict =
        ModelRun(seed, 20 + static_cast<int64_t>(seed)).told().Judge();
    ASSERT_TRUE(verdict.passed())
        << "seed " << seed << "\n" << verdict.ToTable() << verdict.examples[0];
  }
}

using Spoiler = std::function<bool(Told& told, Random& random)>;

template <class T>
T* PickOf(std::vector<T>& from, Random& random,
          const std::function<bool(const T&)>& fits) {
  std::vector<T*> found;
  for (T& one : from) {
    if (fits(one)) found.push_back(&one);
  }
  return found.empty() ? nullptr : found[random.Below(found.size())];
}

bool AckedByAll(const Send& send) {
  return send.outcome == SendOutcome::kOk && send.acks == -1;
}

// Each changes one thing of a run; false when the run has none to change.
const std::vector<std::pair<const char*, Spoiler>>& Spoilers() {
  static const auto* const spoilers =
      new std::vector<std::pair<const char*, Spoiler>>{
          {"a replica's bit flips",
           [](Told& told, Random& random) {
             auto* copy = PickOf<Told::ToldCopy>(
                 told.copies, random, [](auto& c) { return c.end > 0; });
             if (copy == nullptr) return false;
             copy->records[random.Below(copy->records.size())].value.hash ^= 1;
             return true;
           }},
          {"a replica misses a record",
           [](Told& told, Random& random) {
             auto* copy = PickOf<Told::ToldCopy>(
                 told.copies, random, [](auto& c) { return c.end > 0; });
             if (copy == nullptr) return false;
             copy->records.erase(
                 copy->records.begin() +
                 static_cast<int64_t>(random.Below(copy->records.size())));
             return true;
           }},
          {"all copies lose an acknowledged record and close up",
           [](Told& told, Random& random) {
             Send* send = PickOf<Send>(told.sends, random, AckedByAll);
             if (send == nullptr) return false;
             for (auto& copy : told.copies) {
               copy.records.erase(copy.records.begin() + send->offset);
               --copy.end;
               for (auto& r : copy.records) {
                 if (r.offset > send->offset) --r.offset;
               }
             }
             return true;
           }},
          {"a consumer sees another record",
           [](Told& told, Random& random) {
             auto* poll = PickOf<Told::ToldPoll>(
                 told.polls, random,
                 [](auto& p) { return !p.records.empty(); });
             if (poll == nullptr) return false;
             poll->records[random.Below(poll->records.size())].value.name
                 .number += 1'000'000;
             return true;
           }},
          {"a consumer is moved on without a record",
           [](Told& told, Random& random) {
             auto* poll = PickOf<Told::ToldPoll>(
                 told.polls, random,
                 [](auto& p) { return !p.records.empty(); });
             if (poll == nullptr) return false;
             poll->records.pop_back();
             return true;
           }},
          {"a consumer goes back",
           [](Told& told, Random& random) {
             auto* poll = PickOf<Told::ToldPoll>(
                 told.polls, random,
                 [](auto& p) { return !p.records.empty(); });
             if (poll == nullptr) return false;
             told.polls.push_back(*poll);
             return true;
           }},
          {"a stored value was refused",
           [](Told& told, Random& random) {
             Send* send = PickOf<Send>(told.sends, random, AckedByAll);
             if (send == nullptr) return false;
             send->outcome = SendOutcome::kFailed;
             return true;
           }},
          {"nobody counts the second request",
           [](Told& told, Random& random) {
             Send* send = PickOf<Send>(told.sends, random, [](auto& s) {
               return s.attempts == 2 && s.offset > 0 &&
                      s.outcome == SendOutcome::kOk && s.acks == -1;
             });
             if (send == nullptr) return false;
             send->attempts = 1;
             return true;
           }},
          {"an answer after the last knows less than was shown",
           [](Told& told, Random&) {
             Answer last;
             for (const Answer& answer : told.answers) {
               last.ended_us = std::max(last.ended_us, answer.ended_us);
               if (answer.high_watermark > last.high_watermark) {
                 last.high_watermark = answer.high_watermark;
                 last.leader_epoch = answer.leader_epoch;
               }
             }
             if (last.leader_epoch < 0) return false;
             last.began_us = ++last.ended_us;
             --last.high_watermark;
             told.answers.push_back(last);
             return true;
           }},
          {"who acknowledged it shows it to no reader",
           [](Told& told, Random& random) {
             Send* send = PickOf<Send>(told.sends, random, AckedByAll);
             if (send == nullptr) return false;
             Answer answer;
             answer.began_us = answer.ended_us = send->ended_us + 1;
             answer.leader_epoch = send->acked_epoch;
             answer.high_watermark = send->offset;
             told.answers.push_back(answer);
             return true;
           }},
          {"an answer after the last acknowledgement does not know it",
           [](Told& told, Random& random) {
             Send* send = PickOf<Send>(told.sends, random, AckedByAll);
             if (send == nullptr) return false;
             Answer answer;
             answer.kind = Answer::Kind::kLatest;
             answer.began_us = answer.ended_us = send->ended_us + 1;
             answer.leader_epoch = 1'000'000;
             answer.high_watermark = send->offset;
             told.answers.push_back(answer);
             return true;
           }},
      };
  return *spoilers;
}

TEST(HistoryPropertyTest, OneThingWrongAlwaysAlarms) {
  for (const auto& [name, spoil] : Spoilers()) {
    int spoiled = 0;
    for (uint64_t seed = 1; seed <= 100; ++seed) {
      Told told = ModelRun(seed, 60 + static_cast<int64_t>(seed)).told();
      Random random(seed);
      if (!spoil(told, random)) continue;
      ++spoiled;
      EXPECT_FALSE(told.Judge().passed()) << name << ", seed " << seed;
    }
    EXPECT_GE(spoiled, 50) << name;
  }
}

// Printed, not judged: how long a long history takes.
TEST(HistoryPropertyTest, AMillionSteps) {
  const ModelRun run(1, 1'000'000);
  const auto began = std::chrono::steady_clock::now();
  const HistoryVerdict verdict = run.told().Judge();
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_TRUE(verdict.passed()) << verdict.examples[0];
  std::cout << verdict.sent << " sends, " << verdict.answers << " answers, "
            << verdict.records_polled + verdict.records_copied
            << " records seen: "
            << std::chrono::duration_cast<std::chrono::milliseconds>(took)
                   .count()
            << " ms\n";
}

}  // namespace
}  // namespace sluice::check
