#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "test/check/history_findings.h"

namespace sluice::check {
namespace {

// One record seen by one reader.
struct Sighting {
  const StoredRecord* record = nullptr;
  int32_t copy = -1;     // index in copies(); else
  int64_t session = -1;  // index in sessions()
};

// A sent value at an offset, whoever saw it.
struct Place {
  int64_t send = 0;
  int64_t offset = 0;
};

std::string NameOf(const History& history, const Sighting& sighting) {
  if (sighting.copy < 0) {
    return StrCat("consumer ",
                  history.sessions()[static_cast<size_t>(sighting.session)]
                      .consumer);
  }
  const Copy& copy = history.copies()[static_cast<size_t>(sighting.copy)];
  return copy.replica == Copy::kFinalRead ? "the final read"
                                          : StrCat("replica ", copy.replica);
}

bool Differ(const StoredRecord& a, const StoredRecord& b) {
  return a.value != b.value || (a.epoch != b.epoch && a.epoch >= 0 &&
                                b.epoch >= 0);
}

std::string TextOf(const StoredRecord& record) {
  return StrCat(record.value.ToString(), " of epoch ", record.epoch);
}

// All that concerns the records of one partition.
class PartitionContents {
 public:
  PartitionContents(int32_t partition, HistoryFindings* findings)
      : partition_(partition),
        findings_(*findings),
        history_(findings->history()),
        deleted_below_(findings->scope().DeletedBelow(partition)),
        given_up_(findings->scope().given_up.contains(partition)) {}

  void AddSighting(const Sighting& sighting) { seen_.push_back(sighting); }
  void AddCopy(const Copy* copy) { copies_.push_back(copy); }
  void AddSend(int64_t send) { sends_.push_back(send); }

  void Check() {
    CheckOffsets();
    std::sort(places_.begin(), places_.end(), [](const auto& a, const auto& b) {
      return std::tie(a.send, a.offset) < std::tie(b.send, b.offset);
    });
    CheckCopiesOfValues();
    CheckOrder();
    CheckAcknowledged();
  }

 private:
  const Send& SendAt(int64_t index) const {
    return history_.sends()[static_cast<size_t>(index)];
  }

  // Of an offset, of which there is one record; where records were given up,
  // one in each epoch.
  std::pair<int64_t, int32_t> PlaceOf(const StoredRecord& record) const {
    return {record.offset, given_up_ ? record.epoch : 0};
  }
  void CheckOffsets();
  void JudgeValue(const Sighting& sighting);
  void CheckCopiesOfValues();
  void CheckOrder();
  void CheckAcknowledged();
  void CheckAgainst(const Copy& copy, const std::vector<int64_t>& acked);
  void ReportLoss(int64_t send, const Copy& copy, const StoredRecord* there);

  const int32_t partition_;
  HistoryFindings& findings_;
  const History& history_;
  const int64_t deleted_below_;
  const bool given_up_;

  std::vector<Sighting> seen_;
  std::vector<const Copy*> copies_;
  std::vector<int64_t> sends_;
  std::vector<Place> places_;
  std::vector<int64_t> lost_;
};

// By offset: do those who saw it agree, and was each value ever sent?
void PartitionContents::CheckOffsets() {
  std::stable_sort(seen_.begin(), seen_.end(),
                   [this](const Sighting& a, const Sighting& b) {
                     return PlaceOf(*a.record) < PlaceOf(*b.record);
                   });
  for (size_t from = 0; from < seen_.size();) {
    size_t to = from;
    bool divergent = false;
    std::vector<const Sighting*> values;
    for (; to < seen_.size() &&
           PlaceOf(*seen_[to].record) == PlaceOf(*seen_[from].record);
         ++to) {
      const StoredRecord& record = *seen_[to].record;
      // Records pushed in the RECORDS form have no epoch to be told apart by.
      const bool comparable = !given_up_ || record.epoch >= 0;
      if (!divergent && comparable && Differ(*seen_[from].record, record)) {
        divergent = true;
        findings_.Report(Flaw::kDivergent, partition_, "offset ",
                         record.offset, " is ", TextOf(*seen_[from].record),
                         " for ", NameOf(history_, seen_[from]), " and ",
                         TextOf(record), " for ", NameOf(history_, seen_[to]));
      }
      const bool known =
          std::any_of(values.begin(), values.end(), [&](const Sighting* one) {
            return one->record->value == record.value;
          });
      if (!known) values.push_back(&seen_[to]);
    }
    for (const Sighting* value : values) JudgeValue(*value);
    from = to;
  }
}

void PartitionContents::JudgeValue(const Sighting& sighting) {
  const StoredRecord& record = *sighting.record;
  const int64_t index = history_.IndexOf(record.value.name);
  const auto report = [&](Flaw flaw, std::string_view what) {
    findings_.Report(flaw, partition_, NameOf(history_, sighting), " has ",
                     record.value.ToString(), " at ", record.offset, ", ",
                     what);
  };
  if (index < 0) return report(Flaw::kPhantom, "which nobody sent");
  const Send& send = SendAt(index);
  if (send.partition != partition_) {
    return report(Flaw::kPhantom, "which was sent to another partition");
  }
  if (send.value != record.value) {
    return report(Flaw::kTorn, StrCat("but sent was ", send.value.ToString()));
  }
  if (send.outcome == SendOutcome::kFailed) {
    report(Flaw::kFailedButRead, "whose sender was told that it is not stored");
  }
  places_.push_back({index, record.offset});
}

void PartitionContents::CheckCopiesOfValues() {
  for (size_t from = 0; from < places_.size();) {
    size_t to = from;
    while (to < places_.size() && places_[to].send == places_[from].send) ++to;
    const auto copies = static_cast<int64_t>(to - from);
    const Send& send = SendAt(places_[from].send);
    const bool forgotten = places_[from].offset < deleted_below_;
    if (copies > send.attempts && !forgotten) {
      findings_.Report(Flaw::kDup, partition_, send.value.ToString(),
                       " was sent in ", send.attempts, " requests and lies at ",
                       places_[from].offset, " and ", places_[to - 1].offset,
                       ", ", copies, " places");
    } else {
      findings_.verdict().duplicates_explained += copies - 1;
    }
    from = to;
  }
}

// Only of what acks=all acknowledged: such a send ended before the producer's
// next one of the partition went out, whatever arrives late.
void PartitionContents::CheckOrder() {
  std::vector<Place> firsts;
  for (size_t i = 0; i < places_.size(); ++i) {
    const bool is_first = i == 0 || places_[i - 1].send != places_[i].send;
    const Send& send = SendAt(places_[i].send);
    if (is_first && places_[i].offset >= deleted_below_ &&
        send.outcome == SendOutcome::kOk && send.acks == -1) {
      firsts.push_back(places_[i]);
    }
  }
  std::sort(firsts.begin(), firsts.end(), [](const auto& a, const auto& b) {
    return a.offset < b.offset;
  });
  std::map<int32_t, Place> highest;  // by producer
  for (const Place& place : firsts) {
    const ValueName& name = SendAt(place.send).value.name;
    const auto [it, is_new] = highest.try_emplace(name.producer, place);
    if (is_new) continue;
    const ValueName& before = SendAt(it->second.send).value.name;
    if (name.number > before.number) {
      it->second = place;
      continue;
    }
    findings_.Report(Flaw::kReorder, partition_, "producer ", name.producer,
                     " sent ", name.number, " before ", before.number,
                     "; they lie at ", place.offset, " and ",
                     it->second.offset);
  }
}

void PartitionContents::CheckAcknowledged() {
  std::vector<int64_t> acked;  // with an offset, by it
  bool must_last = false;
  for (const int64_t index : sends_) {
    const Send& send = SendAt(index);
    if (send.outcome != SendOutcome::kOk) continue;
    must_last |= send.acks == -1;
    if (send.offset >= 0) {
      acked.push_back(index);
    } else if (!std::binary_search(
                   places_.begin(), places_.end(), Place{index, 0},
                   [](const auto& a, const auto& b) {
                     return a.send < b.send;
                   })) {
      ++findings_.verdict().weak_losses;
    }
  }
  std::sort(acked.begin(), acked.end(), [this](int64_t a, int64_t b) {
    return std::pair(SendAt(a).offset, a) < std::pair(SendAt(b).offset, b);
  });
  if (must_last && copies_.empty() && findings_.scope().is_over) {
    findings_.Report(Flaw::kUnjudged, partition_,
                     "records were acknowledged, and there is neither a final "
                     "read nor a replica's log to look for them in");
  }
  for (const Copy* copy : copies_) CheckAgainst(*copy, acked);
  // Once each, however many copies lack it.
  std::sort(lost_.begin(), lost_.end());
  const auto end = std::unique(lost_.begin(), lost_.end());
  findings_.verdict().weak_losses += end - lost_.begin();
}

void PartitionContents::CheckAgainst(const Copy& copy,
                                     const std::vector<int64_t>& acked) {
  const StoredRecord* at = history_.records().data() + copy.records.first;
  const StoredRecord* const end = at + copy.records.count;
  for (const int64_t index : acked) {
    const Send& send = SendAt(index);
    // A log that begins behind what nobody asked to delete has lost it.
    if (send.offset < std::min(copy.log_start, deleted_below_)) continue;
    while (at != end && at->offset < send.offset) ++at;
    const StoredRecord* const there =
        at != end && at->offset == send.offset ? at : nullptr;
    if (there != nullptr && there->value.name == send.value.name) continue;
    ReportLoss(index, copy, there);
  }
}

void PartitionContents::ReportLoss(int64_t index, const Copy& copy,
                                   const StoredRecord* there) {
  const Send& send = SendAt(index);
  if (send.acks != -1) {
    lost_.push_back(index);
    return;
  }
  const bool tail = send.offset >= copy.end;
  const std::string who = copy.replica == Copy::kFinalRead
                              ? "the final read"
                              : StrCat("the log of replica ", copy.replica);
  findings_.Report(
      tail ? Flaw::kLostTail : Flaw::kLost, partition_, send.value.ToString(),
      " was acknowledged at ", send.offset, "; ", who,
      tail ? StrCat(" ends at ", copy.end)
      : there == nullptr
          ? std::string(" has nothing there")
          : StrCat(" has ", there->value.ToString(), " there"));
}

// Every offset of [log_start, end) once, in order; from where it may begin on,
// if the copy begins later.
void CheckGaps(const Copy& copy, HistoryFindings& findings) {
  const auto& records = findings.history().records();
  int64_t expected =
      std::min(copy.log_start, findings.scope().DeletedBelow(copy.partition));
  const auto report = [&](int64_t found) {
    findings.Report(Flaw::kGap, copy.partition,
                    copy.replica == Copy::kFinalRead
                        ? std::string("the final read")
                        : StrCat("the log of replica ", copy.replica),
                    " goes from ", expected, " to ", found);
  };
  for (size_t i = 0; i < copy.records.count; ++i) {
    const int64_t offset = records[copy.records.first + i].offset;
    if (offset != expected) report(offset);
    expected = offset + 1;
  }
  if (expected != copy.end) report(copy.end);
}

void CheckPolls(HistoryFindings& findings) {
  const History& history = findings.history();
  std::vector<int64_t> positions;
  for (const Session& session : history.sessions()) {
    positions.push_back(session.start);
  }
  for (const Poll& poll : history.polls()) {
    const auto index = static_cast<size_t>(poll.session);
    const Session& session = history.sessions()[index];
    int64_t& position = positions[index];
    const int64_t deleted_below =
        findings.scope().DeletedBelow(session.partition);
    // From where it stood on, or from where the log begins by now.
    const bool skipped = poll.from > position && poll.from <= deleted_below;
    if (position != kOffsetUnknown && poll.from != position && !skipped) {
      findings.Report(Flaw::kNonMono, session.partition, "consumer ",
                      session.consumer, " stood at ", position,
                      " and was given what begins at ", poll.from);
    }
    int64_t expected = poll.from;
    for (size_t i = 0; i < poll.records.count; ++i) {
      const int64_t offset =
          history.records()[poll.records.first + i].offset;
      if (offset < expected) {
        findings.Report(Flaw::kNonMono, session.partition, "consumer ",
                        session.consumer, " was given ", offset,
                        " where ", expected, " was next");
      } else if (offset > expected && offset > deleted_below) {
        findings.Report(Flaw::kGap, session.partition, "consumer ",
                        session.consumer, " was given ", offset,
                        " where ", expected, " was next");
      }
      expected = offset + 1;
    }
    if (poll.next > std::max(expected, deleted_below)) {
      findings.Report(Flaw::kGap, session.partition, "consumer ",
                      session.consumer, " was moved to ", poll.next,
                      " and given nothing from ", expected, " on");
    }
    position = std::max(poll.next, expected);
  }
}

}  // namespace

void CheckContents(HistoryFindings& findings) {
  const History& history = findings.history();
  std::vector<PartitionContents> partitions;
  for (size_t p = 0; p < history.partitions().size(); ++p) {
    partitions.emplace_back(static_cast<int32_t>(p), &findings);
  }
  const auto add = [&](int32_t partition, const RecordRun& run,
                       Sighting sighting) {
    for (size_t i = run.first; i < run.first + run.count; ++i) {
      sighting.record = &history.records()[i];
      partitions[static_cast<size_t>(partition)].AddSighting(sighting);
    }
  };
  for (const Poll& poll : history.polls()) {
    add(history.sessions()[static_cast<size_t>(poll.session)].partition,
        poll.records, {.session = poll.session});
  }
  for (size_t i = 0; i < history.copies().size(); ++i) {
    const Copy& copy = history.copies()[i];
    add(copy.partition, copy.records, {.copy = static_cast<int32_t>(i)});
    partitions[static_cast<size_t>(copy.partition)].AddCopy(&copy);
    CheckGaps(copy, findings);
  }
  for (size_t i = 0; i < history.sends().size(); ++i) {
    partitions[static_cast<size_t>(history.sends()[i].partition)].AddSend(
        static_cast<int64_t>(i));
  }
  CheckPolls(findings);
  for (PartitionContents& partition : partitions) partition.Check();
}

}  // namespace sluice::check
