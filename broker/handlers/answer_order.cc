#include "broker/handlers/answer_order.h"

#include <utility>

#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

AnswerOrder::Ticket AnswerOrder::Enter(Key key) {
  const auto line = lines_.try_emplace(std::move(key)).first;
  line->second.results.emplace_back();
  return Ticket(line, line->second.first + line->second.results.size() - 1);
}

void AnswerOrder::Come(Ticket ticket, Task leave) {
  Line& line = ticket.line_->second;
  Task& place = line.results[ticket.number_ - line.first];
  INVARIANT(place == nullptr, "a result came twice");
  if (MUTANT(kAnswersAsTheyCome)) std::exchange(leave, [] {})();
  place = std::move(leave);
  while (!line.results.empty() && line.results.front() != nullptr) {
    line.results.front()();
    line.results.pop_front();
    ++line.first;
  }
  if (line.results.empty()) lines_.erase(ticket.line_);
}

}  // namespace sluice
