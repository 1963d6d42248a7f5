#include <algorithm>

#include "test/check/history_findings.h"

namespace sluice::check {
namespace {

// The sends that acks=all acknowledged, and the answers, of one partition.
struct Events {
  std::vector<size_t> acked;    // by when they ended
  std::vector<size_t> invoked;  // the same sends by when they were sent
  std::vector<size_t> begun;    // answers by when they were asked for
  std::vector<size_t> ended;    // answers by when they came
};

// w1 was acknowledged before w2 was sent: w1 lies before w2.
void CheckRealTime(int32_t partition, const Events& events,
                   HistoryFindings& findings) {
  const std::vector<Send>& sends = findings.history().sends();
  const Send* highest = nullptr;
  size_t next = 0;
  for (const size_t index : events.invoked) {
    const Send& send = sends[index];
    for (; next < events.acked.size() &&
           sends[events.acked[next]].ended_us < send.invoked_us;
         ++next) {
      const Send& acked = sends[events.acked[next]];
      if (highest == nullptr || acked.offset > highest->offset) {
        highest = &acked;
      }
    }
    if (highest == nullptr || highest->offset < send.offset) continue;
    findings.Report(Flaw::kRealtime, partition, highest->value.ToString(),
                    " was acknowledged at ", highest->offset, " before ",
                    send.value.ToString(), " was sent, which lies at ",
                    send.offset);
  }
}

// A leader knows what its epoch acknowledged, whoever appended it: its high
// watermark had passed it. What older epochs acknowledged it knows when its own
// first records are committed, and says no "latest" before; a fetch may show
// the older high watermark until then. What newer ones did a deposed leader
// does not know, however often its own records are acknowledged by them.
void CheckStale(int32_t partition, const Events& events,
                HistoryFindings& findings) {
  const std::vector<Send>& sends = findings.history().sends();
  HistoryVerdict& verdict = findings.verdict();
  std::map<int32_t, int64_t> acked_by;  // epoch -> the highest offset
  Staircase acked_up_to;  // the same, of it or older ones
  int64_t highest = -1;   // of any epoch
  size_t next = 0;
  for (const size_t index : events.begun) {
    const Answer& answer = findings.history().answers()[index];
    for (; next < events.acked.size() &&
           sends[events.acked[next]].ended_us < answer.began_us;
         ++next) {
      const Send& send = sends[events.acked[next]];
      if (send.acked_epoch < 0) continue;
      acked_up_to.Put(send.acked_epoch, send.offset);
      const auto own = acked_by.try_emplace(send.acked_epoch, -1).first;
      own->second = std::max(own->second, send.offset);
      highest = std::max(highest, send.offset);
    }
    if (answer.leader_epoch < 0) {
      ++verdict.answers_without_epoch;
      continue;
    }
    const auto own = acked_by.find(answer.leader_epoch);
    const int64_t of_own = own == acked_by.end() ? -1 : own->second;
    const int64_t up_to_own = acked_up_to.AtOrBelow(answer.leader_epoch, -1);
    const bool is_latest = answer.kind == Answer::Kind::kLatest;
    const int64_t must_know = is_latest ? up_to_own : of_own;
    if (answer.high_watermark <= must_know) {
      findings.Report(Flaw::kStale, partition, "the leader of epoch ",
                      answer.leader_epoch, is_latest ? " answered" : " read",
                      " with high watermark ", answer.high_watermark,
                      " what was asked at ", answer.began_us,
                      " us, after the acknowledgement of ", must_know);
    } else if (answer.high_watermark <= up_to_own) {
      ++verdict.early_answers;
    } else if (answer.high_watermark <= highest) {
      ++verdict.deposed_answers;
    }
  }
}

// An answer that came before another was asked for shows no more than it: of
// one epoch always, and a "latest" also not less than older epochs showed.
void CheckHighWatermarks(int32_t partition, const Events& events,
                         HistoryFindings& findings) {
  const std::vector<Answer>& answers = findings.history().answers();
  Staircase of_any;                 // epoch -> as of it or older ones
  std::map<int32_t, int64_t> of_one;  // epoch -> as of it
  size_t next = 0;
  for (const size_t index : events.begun) {
    const Answer& answer = answers[index];
    for (; next < events.ended.size() &&
           answers[events.ended[next]].ended_us < answer.began_us;
         ++next) {
      const Answer& past = answers[events.ended[next]];
      if (past.leader_epoch < 0) continue;
      of_any.Put(past.leader_epoch, past.high_watermark);
      int64_t& highest = of_one[past.leader_epoch];
      highest = std::max(highest, past.high_watermark);
    }
    if (answer.leader_epoch < 0) continue;
    const auto own = of_one.find(answer.leader_epoch);
    int64_t shown = own == of_one.end() ? -1 : own->second;
    if (answer.kind == Answer::Kind::kLatest) {
      shown = std::max(shown, of_any.AtOrBelow(answer.leader_epoch, -1));
    }
    if (answer.high_watermark >= shown) continue;
    findings.Report(Flaw::kHwBack, partition, "the leader of epoch ",
                    answer.leader_epoch, " answered with high watermark ",
                    answer.high_watermark, " what was asked at ",
                    answer.began_us, " us; ", shown, " had been shown before");
  }
}

template <class Key>
void SortBy(std::vector<size_t>& indexes, Key&& key) {
  std::sort(indexes.begin(), indexes.end(), [&](size_t a, size_t b) {
    return std::pair(key(a), a) < std::pair(key(b), b);
  });
}

}  // namespace

void CheckTimes(HistoryFindings& findings) {
  const History& history = findings.history();
  const std::vector<Send>& sends = history.sends();
  const std::vector<Answer>& answers = history.answers();
  std::vector<Events> partitions(history.partitions().size());
  for (size_t i = 0; i < sends.size(); ++i) {
    if (sends[i].outcome != SendOutcome::kOk || sends[i].acks != -1 ||
        sends[i].offset < 0) {
      continue;
    }
    partitions[static_cast<size_t>(sends[i].partition)].acked.push_back(i);
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    partitions[static_cast<size_t>(answers[i].partition)].begun.push_back(i);
  }
  for (size_t p = 0; p < partitions.size(); ++p) {
    Events& events = partitions[p];
    events.invoked = events.acked;
    events.ended = events.begun;
    SortBy(events.acked, [&](size_t i) { return sends[i].ended_us; });
    SortBy(events.invoked, [&](size_t i) { return sends[i].invoked_us; });
    SortBy(events.begun, [&](size_t i) { return answers[i].began_us; });
    SortBy(events.ended, [&](size_t i) { return answers[i].ended_us; });
    const auto partition = static_cast<int32_t>(p);
    CheckRealTime(partition, events, findings);
    CheckStale(partition, events, findings);
    CheckHighWatermarks(partition, events, findings);
  }
}

}  // namespace sluice::check
