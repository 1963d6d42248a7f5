#include "test/check/history_checker.h"

#include <algorithm>

#include "test/check/history_findings.h"

namespace sluice::check {
namespace {

void CountWork(const History& history, const HistoryScope& scope,
               HistoryVerdict* verdict) {
  verdict->sent = std::ssize(history.sends());
  for (const Send& send : history.sends()) {
    if (scope.given_up.contains(send.partition)) continue;
    switch (send.outcome) {
      case SendOutcome::kOk:
        ++(send.acks == -1 ? verdict->acked : verdict->acked_weak);
        verdict->acks_without_epoch +=
            send.acks == -1 && send.acked_epoch == kEpochUnknown;
        break;
      case SendOutcome::kFailed: ++verdict->failed; break;
      case SendOutcome::kOpen:
      case SendOutcome::kUnknown: ++verdict->unknown; break;
    }
  }
  verdict->answers = std::ssize(history.answers());
  verdict->polls = std::ssize(history.polls());
  for (const Poll& poll : history.polls()) {
    verdict->records_polled += static_cast<int64_t>(poll.records.count);
  }
  verdict->copies = std::ssize(history.copies());
  for (const Copy& copy : history.copies()) {
    verdict->records_copied += static_cast<int64_t>(copy.records.count);
  }
}

}  // namespace

bool HistoryVerdict::passed() const {
  return std::all_of(flaws.begin(), flaws.end(),
                     [](int64_t count) { return count == 0; });
}

std::string HistoryVerdict::ToTable() const {
  std::string table;
  const auto row = [&](std::string_view name, int64_t number) {
    std::string line(name);
    line.resize(24, ' ');
    table += StrCat(line, number, "\n");
  };
  for (size_t i = 0; i < kFlawCount; ++i) row(kFlawNames[i], flaws[i]);
  row("sent", sent);
  row("acked", acked);
  row("acked weakly", acked_weak);
  row("failed", failed);
  row("outcome unknown", unknown);
  row("answers", answers);
  row("polls", polls);
  row("records polled", records_polled);
  row("final copies", copies);
  row("records in them", records_copied);
  row("duplicates explained", duplicates_explained);
  row("weak losses", weak_losses);
  row("answers of deposed", deposed_answers);
  row("answers too early", early_answers);
  row("acks without epoch", acks_without_epoch);
  row("answers without epoch", answers_without_epoch);
  return table;
}

HistoryVerdict CheckHistory(const History& history,
                            const HistoryScope& scope) {
  HistoryVerdict verdict;
  CountWork(history, scope, &verdict);
  HistoryFindings findings(history, scope, &verdict);
  CheckContents(findings);
  CheckTimes(findings);
  return verdict;
}

}  // namespace sluice::check
