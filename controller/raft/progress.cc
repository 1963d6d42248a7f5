#include "controller/raft/progress.h"

#include <algorithm>

namespace sluice::raft {

bool Progress::MaySend(int inflight_max) const {
  if (state == State::kProbe) return !probe_sent;
  return inflight.size() < static_cast<size_t>(inflight_max);
}

void Progress::SentAppend(LogIndex last) {
  if (state == State::kProbe) {
    probe_sent = true;
    return;
  }
  if (last < next) return;  // empty
  inflight.push_back(last);
  next = last.Next();
}

bool Progress::Acked(LogIndex index) {
  const bool advanced = index > match;
  match = std::max(match, index);
  next = std::max(next, match.Next());
  while (!inflight.empty() && inflight.front() <= index) inflight.pop_front();
  if (state == State::kProbe && index == match) {
    state = State::kReplicate;
    next = match.Next();
    probe_sent = false;
  }
  return advanced;
}

bool Progress::Rejected(LogIndex index, LogIndex retry) {
  if (index <= match) return false;
  if (state == State::kProbe && index != next - 1) return false;
  ToProbe();
  next = std::max(match.Next(), std::min(retry, index));
  return true;
}

void Progress::ToProbe() {
  state = State::kProbe;
  probe_sent = false;
  inflight.clear();
  next = match.Next();
}

void Progress::Unblock() {
  probe_sent = false;
  if (!inflight.empty()) inflight.pop_front();
}

}  // namespace sluice::raft
