// As follower: which question about a replica counts. A leader can be asked
// again, and on another stream, before it has answered: what belongs to an
// older question, or comes by the other stream, has no effect (README.md).
#pragma once

#include <optional>

#include "client/peers/replication_stream.h"

namespace sluice {

// Pure.
class ReplicaQuestion {
 public:
  // The stream that the replica is on, or asks on.
  StreamKind stream() const { return stream_; }

  // Nothing that was asked counts any more; the next question is on `stream`.
  void GoTo(StreamKind stream);
  // The number to ask by, now: `next`, and all older questions are void. Or
  // that of the question that is not answered yet: asked once more it is the
  // same one, so that its answer counts however slow the stream is.
  AddNumber Ask(AddNumber next);
  // Of what says how a question ends: an answer, Moved, Removed.
  bool Answers(StreamKind by, AddNumber number) const;
  // It is answered: the next is another question.
  void Close() { answered_ = true; }
  // What it brings is taken from now on.
  void Accept(AddNumber number);
  // Of what an acceptance brings: data, high watermarks.
  bool Takes(StreamKind by, AddNumber number) const;
  // By which an acknowledgement goes back.
  std::optional<AddNumber> accepted() const { return accepted_; }
  // What is accepted is what was asked last.
  bool IsSettled() const;

 private:
  StreamKind stream_ = StreamKind::kMain;
  std::optional<AddNumber> asked_;
  bool answered_ = false;
  std::optional<AddNumber> accepted_;
};

}  // namespace sluice
