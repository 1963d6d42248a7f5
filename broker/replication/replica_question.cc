#include "broker/replication/replica_question.h"

#include "common/base/mutant.h"

namespace sluice {

void ReplicaQuestion::GoTo(StreamKind stream) {
  stream_ = stream;
  asked_.reset();
  answered_ = false;
  accepted_.reset();
}

AddNumber ReplicaQuestion::Ask(AddNumber next) {
  const bool again = asked_.has_value() && !answered_ &&
                     !MUTANT(kRepeatedAddRenumbered);
  if (!again) {
    asked_ = next;
    answered_ = false;
    accepted_.reset();
  }
  return *asked_;
}

bool ReplicaQuestion::Answers(StreamKind by, AddNumber number) const {
  return (by == stream_ && number == asked_) || MUTANT(kOlderAnswersHeard);
}

void ReplicaQuestion::Accept(AddNumber number) {
  answered_ = true;
  accepted_ = number;
}

bool ReplicaQuestion::Takes(StreamKind by, AddNumber number) const {
  return number == accepted_ && by == stream_;
}

bool ReplicaQuestion::IsSettled() const {
  return accepted_.has_value() && accepted_ == asked_;
}

}  // namespace sluice
