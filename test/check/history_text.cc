#include "test/check/history_text.h"

#include <charconv>
#include <istream>
#include <optional>
#include <ostream>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

absl::Status Malformed(std::string_view what) {
  return MakeError(ErrorCode::kInvalidRequest, what);
}

// The words of a line, one after the other.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}

  bool done() const { return rest_.empty(); }
  std::string_view Next() {
    const size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(std::min(rest_.size(), end + 1));
    return word;
  }

 private:
  std::string_view rest_;
};

template <class Number>
bool Take(std::string_view& text, Number& number, int base = 10) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

template <class Number>
bool ParseOne(std::string_view word, Number& number, int base = 10) {
  return Take(word, number, base) && word.empty();
}

// All numbers, and nothing behind them.
template <class... Numbers>
absl::Status ParseNumbers(Words& words, Numbers&... numbers) {
  if (!(ParseOne(words.Next(), numbers) && ...)) {
    return Malformed("a number is missing or is none");
  }
  return absl::OkStatus();
}

bool TakeColon(std::string_view& text) {
  if (text.empty() || text.front() != ':') return false;
  text.remove_prefix(1);
  return true;
}

// OFFSET:EPOCH:PRODUCER:NUMBER:HASH
bool ParseRecord(std::string_view text, StoredRecord& record) {
  return Take(text, record.offset) && TakeColon(text) &&
         Take(text, record.epoch) && TakeColon(text) &&
         Take(text, record.value.name.producer) && TakeColon(text) &&
         Take(text, record.value.name.number) && TakeColon(text) &&
         Take(text, record.value.hash, 16) && text.empty();
}

absl::StatusOr<std::vector<StoredRecord>> ParseRecords(Words& words) {
  std::vector<StoredRecord> records;
  while (!words.done()) {
    if (!ParseRecord(words.Next(), records.emplace_back())) {
      return Malformed("a record is OFFSET:EPOCH:PRODUCER:NUMBER:HASH");
    }
  }
  return records;
}

class Reader {
 public:
  explicit Reader(History* history) : history_(*history) {}

  absl::Status Line(std::string_view line) {
    Words words(line);
    const std::string_view kind = words.Next();
    const auto finish = [&](absl::Status status) {
      if (status.ok() && !words.done()) return Malformed("too many words");
      return status;
    };
    if (kind == "partition") return finish(Partition(words));
    if (kind == "send") return finish(SendLine(words));
    if (kind == "again") return finish(Again(words));
    if (kind == "ok") return finish(End(words, SendOutcome::kOk));
    if (kind == "fail") return finish(End(words, SendOutcome::kFailed));
    if (kind == "unknown") return finish(End(words, SendOutcome::kUnknown));
    if (kind == "fetch") return finish(Asked(words, Answer::Kind::kFetch));
    if (kind == "latest") return finish(Asked(words, Answer::Kind::kLatest));
    if (kind == "session") return finish(SessionLine(words));
    if (kind == "poll") return PollLine(words);
    if (kind == "copy") return finish(CopyLine(words));
    if (kind == "have") return Have(words);
    return Malformed("an unknown kind of line");
  }

 private:
  absl::Status TakePartition(Words& words, int32_t& partition) {
    int64_t number = 0;
    RETURN_IF_ERROR(ParseNumbers(words, number));
    if (number < 0 || number >= std::ssize(partition_of_)) {
      return Malformed("the partition has no line of its own above");
    }
    partition = partition_of_[static_cast<size_t>(number)];
    return absl::OkStatus();
  }

  absl::Status Partition(Words& words) {
    int64_t number = 0;
    RETURN_IF_ERROR(ParseNumbers(words, number));
    const std::string_view name = words.Next();
    if (number != std::ssize(partition_of_) || name.empty()) {
      return Malformed("partitions are numbered from 0 on and have names");
    }
    partition_of_.push_back(history_.PartitionOf(name));
    return absl::OkStatus();
  }

  absl::Status SendLine(Words& words) {
    Send send;
    RETURN_IF_ERROR(TakePartition(words, send.partition));
    RETURN_IF_ERROR(
        ParseNumbers(words, send.value.name.producer, send.value.name.number));
    if (!ParseOne(words.Next(), send.value.hash, 16)) {
      return Malformed("the hash is no hexadecimal number");
    }
    RETURN_IF_ERROR(ParseNumbers(words, send.acks, send.invoked_us));
    if (send.acks < -1 || send.acks > 1) return Malformed("acks is -1, 0 or 1");
    return history_.AddSend(send).status();
  }

  absl::Status TakeSend(Words& words, size_t& send) {
    ValueName name;
    RETURN_IF_ERROR(ParseNumbers(words, name.producer, name.number));
    const int64_t index = history_.IndexOf(name);
    if (index < 0) return Malformed("nobody sent it above");
    send = static_cast<size_t>(index);
    return absl::OkStatus();
  }

  absl::Status Again(Words& words) {
    size_t send = 0;
    RETURN_IF_ERROR(TakeSend(words, send));
    int32_t count = Send::kAnyAttempts;
    const std::string_view word = words.Next();
    if (word != "*" && !ParseOne(word, count)) {
      return Malformed("a number of attempts, or *");
    }
    return history_.AddAttempts(send, count);
  }

  absl::Status End(Words& words, SendOutcome outcome) {
    size_t send = 0;
    int64_t ended_us = 0;
    int64_t offset = kOffsetUnknown;
    int32_t epoch = kEpochUnknown;
    RETURN_IF_ERROR(TakeSend(words, send));
    RETURN_IF_ERROR(ParseNumbers(words, ended_us));
    if (outcome == SendOutcome::kOk) {
      RETURN_IF_ERROR(ParseNumbers(words, offset));
      if (!words.done()) RETURN_IF_ERROR(ParseNumbers(words, epoch));
    }
    return history_.EndSend(send, outcome, ended_us, offset, epoch);
  }

  absl::Status Asked(Words& words, Answer::Kind kind) {
    Answer answer;
    answer.kind = kind;
    RETURN_IF_ERROR(TakePartition(words, answer.partition));
    RETURN_IF_ERROR(ParseNumbers(words, answer.began_us, answer.ended_us,
                                 answer.leader_epoch, answer.high_watermark));
    return history_.AddAnswer(answer);
  }

  absl::Status SessionLine(Words& words) {
    int64_t number = 0;
    Session session;
    RETURN_IF_ERROR(ParseNumbers(words, number));
    RETURN_IF_ERROR(TakePartition(words, session.partition));
    RETURN_IF_ERROR(ParseNumbers(words, session.consumer, session.start));
    if (number != std::ssize(session_of_)) {
      return Malformed("sessions are numbered from 0 on");
    }
    ASSIGN_OR_RETURN(const int64_t index, history_.AddSession(session));
    session_of_.push_back(index);
    return absl::OkStatus();
  }

  absl::Status PollLine(Words& words) {
    int64_t number = 0;
    int64_t from = 0;
    int64_t next = 0;
    RETURN_IF_ERROR(ParseNumbers(words, number, from, next));
    if (number < 0 || number >= std::ssize(session_of_)) {
      return Malformed("the session has no line of its own above");
    }
    ASSIGN_OR_RETURN(const auto records, ParseRecords(words));
    return history_.AddPoll(session_of_[static_cast<size_t>(number)], from,
                            next, records);
  }

  absl::Status CopyLine(Words& words) {
    int32_t partition = 0;
    int32_t replica = Copy::kFinalRead;
    int64_t log_start = 0;
    int64_t end = 0;
    RETURN_IF_ERROR(TakePartition(words, partition));
    const std::string_view word = words.Next();
    if (word != "final" && (!ParseOne(word, replica) || replica < 0)) {
      return Malformed("a copy is a replica's number, or final");
    }
    RETURN_IF_ERROR(ParseNumbers(words, log_start, end));
    copy_open_ = true;
    return history_.AddCopy(partition, replica, log_start, end);
  }

  absl::Status Have(Words& words) {
    if (!copy_open_) return Malformed("records of no copy in this file");
    ASSIGN_OR_RETURN(const auto records, ParseRecords(words));
    return history_.AddToLastCopy(records);
  }

  History& history_;
  // By their numbers in this file.
  std::vector<int32_t> partition_of_;
  std::vector<int64_t> session_of_;
  bool copy_open_ = false;
};

// False at the end. A line that is too long comes cut at the bound + 1.
bool NextLine(std::istream& in, std::string& line) {
  line.clear();
  std::streambuf* const bytes = in.rdbuf();
  for (int c = bytes->sbumpc(); c != EOF; c = bytes->sbumpc()) {
    if (c == '\n') return true;
    line.push_back(static_cast<char>(c));
    if (line.size() > kHistoryLineBytesMax) return true;
  }
  return !line.empty();
}

// Of one file, numbers are those in the history.
class Writer {
 public:
  Writer(const History& history, std::ostream* out)
      : history_(history), out_(*out) {}

  void Write() {
    out_ << kHistoryTextHeader << '\n';
    for (size_t i = 0; i < history_.partitions().size(); ++i) {
      out_ << "partition " << i << ' ' << history_.partitions()[i] << '\n';
    }
    for (const Send& send : history_.sends()) WriteSend(send);
    for (const Answer& answer : history_.answers()) {
      out_ << (answer.kind == Answer::Kind::kFetch ? "fetch " : "latest ")
           << answer.partition << ' ' << answer.began_us << ' '
           << answer.ended_us << ' ' << answer.leader_epoch << ' '
           << answer.high_watermark << '\n';
    }
    for (size_t i = 0; i < history_.sessions().size(); ++i) {
      const Session& session = history_.sessions()[i];
      out_ << "session " << i << ' ' << session.partition << ' '
           << session.consumer << ' ' << session.start << '\n';
    }
    for (const Poll& poll : history_.polls()) WritePoll(poll);
    for (const Copy& copy : history_.copies()) WriteCopy(copy);
  }

 private:
  void WriteSend(const Send& send) {
    const ValueName& name = send.value.name;
    out_ << "send " << send.partition << ' ' << name.producer << ' '
         << name.number << ' ' << std::hex << send.value.hash << std::dec
         << ' ' << send.acks << ' ' << send.invoked_us << '\n';
    const auto line = [&](std::string_view kind) -> std::ostream& {
      return out_ << kind << ' ' << name.producer << ' ' << name.number << ' ';
    };
    if (send.attempts == Send::kAnyAttempts) {
      line("again") << "*\n";
    } else if (send.attempts > 1) {
      line("again") << send.attempts - 1 << '\n';
    }
    switch (send.outcome) {
      case SendOutcome::kOpen: return;
      case SendOutcome::kOk:
        line("ok") << send.ended_us << ' ' << send.offset << ' '
                   << send.acked_epoch << '\n';
        return;
      case SendOutcome::kFailed: line("fail") << send.ended_us << '\n'; return;
      case SendOutcome::kUnknown:
        line("unknown") << send.ended_us << '\n';
        return;
    }
  }

  void WriteRecord(const StoredRecord& record) {
    out_ << ' ' << record.offset << ':' << record.epoch << ':'
         << record.value.name.producer << ':' << record.value.name.number
         << ':' << std::hex << record.value.hash << std::dec;
  }

  // On one line, for a poll's records are bounded by the rig's polls; the
  // reader says so when they are not.
  void WritePoll(const Poll& poll) {
    out_ << "poll " << poll.session << ' ' << poll.from << ' ' << poll.next;
    for (size_t i = 0; i < poll.records.count; ++i) {
      WriteRecord(history_.records()[poll.records.first + i]);
    }
    out_ << '\n';
  }

  void WriteCopy(const Copy& copy) {
    out_ << "copy " << copy.partition << ' ';
    if (copy.replica == Copy::kFinalRead) {
      out_ << "final";
    } else {
      out_ << copy.replica;
    }
    out_ << ' ' << copy.log_start << ' ' << copy.end << '\n';
    for (size_t i = 0; i < copy.records.count; ++i) {
      if (i % kHistoryLineRecords == 0) out_ << (i == 0 ? "have" : "\nhave");
      WriteRecord(history_.records()[copy.records.first + i]);
    }
    if (copy.records.count > 0) out_ << '\n';
  }

  const History& history_;
  std::ostream& out_;
};

}  // namespace

absl::Status ReadHistory(std::istream& in, std::string_view file,
                         History* history) {
  Reader reader(history);
  std::string line;
  int64_t number = 0;
  const auto wrong = [&](const absl::Status& why) {
    return MakeError(ErrorCode::kInvalidRequest, file, ":", number, ": ",
                     StdView(why.message()));
  };
  while (NextLine(in, line)) {
    ++number;
    if (line.size() > kHistoryLineBytesMax) {
      return wrong(Malformed(StrCat("longer than ", kHistoryLineBytesMax)));
    }
    if (number == 1) {
      if (line == kHistoryTextHeader) continue;
      return wrong(Malformed(StrCat("it begins with ", kHistoryTextHeader)));
    }
    if (line.empty() || line.front() == '#') continue;
    if (absl::Status s = reader.Line(line); !s.ok()) return wrong(s);
  }
  if (number == 0) return wrong(Malformed("it is empty"));
  return absl::OkStatus();
}

absl::Status WriteHistory(const History& history, std::ostream& out) {
  Writer(history, &out).Write();
  out.flush();
  if (!out) return absl::UnknownError("the history could not be written");
  return absl::OkStatus();
}

}  // namespace sluice::check
