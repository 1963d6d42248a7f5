// What a stream reads: one subscription at this broker, which has its records
// from wherever they are.
#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "broker/consume_driver/consume_stream.h"
#include "common/base/error.h"

namespace sluice {

using namespace consume;  // NOLINT: the words of the core

// The subscription's way back. Runs on the worker.
class ConsumeStream::Records final : public SubscribeSink {
 public:
  explicit Records(std::weak_ptr<ConsumeStream> stream)
      : stream_(std::move(stream)) {}

  void Push(api::SubscribeResponse response) override {
    if (const auto stream = stream_.lock()) {
      stream->OnRecords(std::move(response));
    }
  }
  void Finish(absl::Status status) override {
    if (const auto stream = stream_.lock()) stream->OnRecordsEnded(status);
  }

 private:
  const std::weak_ptr<ConsumeStream> stream_;
};

std::optional<TopicPartition> ConsumeStream::Resolve(
    const NamedPartition& tp) const {
  const auto image = deps_.image->Load();
  const TopicImage* topic = image->FindTopic(tp.topic);
  if (topic == nullptr) return std::nullopt;
  return TopicPartition{topic->id, tp.partition};
}

// The core knows topics by name alone. One that is acknowledged by id is the one
// that was read there, whether it exists or not; only of what this stream has
// never read the metadata says it.
TopicNames ConsumeStream::NameTopics(v1::ConsumeRequest& request) const {
  const auto image = deps_.image->Load();
  TopicNames names;
  const auto note = [&](const v1::OffsetCommit& offset) {
    const auto id = TopicId::FromBytes(offset.topic().id());
    if (!offset.topic().has_id() || !id.has_value()) return;
    const TopicPartition tp{*id, PartitionIndex(offset.partition())};
    if (const NamedPartition* read = topics_.NameOf(tp)) {
      names[tp] = read->topic;
      return;
    }
    const TopicImage* topic = image->FindTopic(*id);
    if (topic == nullptr) return;
    if (topics_.IdOf({topic->name, tp.partition}).has_value()) return;
    names[tp] = topic->name;
  };
  for (const auto& offset : request.ack().offsets()) note(offset);
  for (const auto& offset : request.revoke_ack().offsets()) note(offset);
  if (!request.has_seek()) return names;
  for (auto& position : *request.mutable_seek()->mutable_positions()) {
    const auto id = TopicId::FromBytes(position.topic().id());
    if (!position.topic().has_id() || !id.has_value()) continue;
    const TopicImage* topic = image->FindTopic(*id);
    if (topic != nullptr) position.mutable_topic()->set_name(topic->name);
  }
  return names;
}

// A topic that was made again inherits nothing.
void ConsumeStream::IdentifyTopic(v1::OffsetCommit& offset) const {
  const auto id = topics_.IdOf(
      {offset.topic().name(), PartitionIndex(offset.partition())});
  if (id.has_value()) offset.mutable_topic()->set_id(id->ToBytes());
}

// ---- Where partitions begin ----

void ConsumeStream::Carry(const ListOffsets& a) {
  api::ListOffsetsRequest request;
  request.isolation = core_->options().isolation;
  request.route = api::Route::kForward;
  for (const NamedPartition& tp : a.partitions) {
    api::ListOffsetsPartition asked;
    const auto id = a.topics.find(tp.topic);
    if (id != a.topics.end()) {
      asked.topic.id = id->second;
    } else {
      asked.topic.name = tp.topic;
    }
    asked.partition = tp.partition;
    asked.position = api::OffsetPosition::kLatest;
    if (a.back_ms.has_value()) {
      asked.position = api::OffsetPosition::kTimestamp;
      asked.timestamp_ms =
          std::max<int64_t>(0, deps_.clock->WallMillis() - *a.back_ms);
    }
    request.partitions.push_back(std::move(asked));
  }
  deps_.list_offsets(
      Context(kCallTimeoutUs), request,
      [weak = weak_from_this(), worker = deps_.worker, call = a.call,
       asked = a.partitions](absl::Status status,
                             api::ListOffsetsResponse response) {
        std::map<NamedPartition, Offset> found;
        if (status.ok() && response.results.size() != asked.size()) {
          status = MakeError(ErrorCode::kUnknownServerError,
                             "offsets were asked of ", asked.size(),
                             " partitions, ", response.results.size(),
                             " answered");
        }
        for (size_t i = 0; status.ok() && i < asked.size(); ++i) {
          const api::ListOffsetsResult& result = response.results[i];
          if (!result.error.ok()) {
            status = MakeErrorStatus(result.error.code, result.error.message);
          }
          found[asked[i]] = result.offset;
        }
        OffsetsListed event{call, std::move(found)};
        if (!status.ok()) event.answer = status;
        worker->Post([weak, event = std::move(event)]() mutable {
          if (const auto self = weak.lock()) self->Do(std::move(event));
        });
      });
}

// ---- Reading ----

void ConsumeStream::AskSoon() {
  if (std::exchange(asking_, true)) return;
  deps_.worker->Post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Ask();
  });
}

void ConsumeStream::Ask() {
  asking_ = false;
  if (sink_ == nullptr) return;
  if (subscription_ == nullptr) {
    subscription_ = deps_.subscribe(
        context_, std::make_shared<Records>(weak_from_this()));
    ask_.isolation = core_->options().isolation;
    ask_.form = core_->options().form;
    ask_.route = api::Route::kForward;
    ask_.rack = core_->options().membership.rack;
  }
  std::vector<TopicPartition> stopped;
  for (const api::SubscribePartition& stop : ask_.stop) {
    stopped.push_back({stop.topic.id, stop.partition});
  }
  subscription_->OnRequest(std::exchange(ask_, {}));
  if (stopped.empty()) return;
  // Behind it on the worker: what comes from here on is of a new subscription.
  deps_.worker->Post([weak = weak_from_this(), stopped = std::move(stopped)] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    for (const TopicPartition& tp : stopped) {
      const auto stopping = self->stopping_.find(tp);
      if (--stopping->second == 0) self->stopping_.erase(stopping);
    }
  });
}

// A leader that was deposed and has not heard of it must not say that an offset
// which its successor pushed is out of range: the group would begin anew. What a
// client has committed may be no epoch at all, and is not insisted on.
std::optional<LeaderEpoch> ConsumeStream::EpochToReadBy(
    const TopicPartition& tp, const Read& read) const {
  LeaderEpoch newest = read.leader_epoch;
  if (read.refusals < kCommittedEpochRefusalsMax) {
    newest = std::max(newest, read.committed_epoch);
  }
  const auto image = deps_.image->Load();
  if (const PartitionImage* partition = image->FindPartition(tp)) {
    newest = std::max(newest, partition->leader_epoch);
  }
  if (newest == kNoLeaderEpoch) return std::nullopt;
  return newest;
}

void ConsumeStream::Carry(const StartReading& a) {
  const auto tp = Resolve(a.tp);
  if (!tp.has_value()) {
    return Do(ReadingEnded{
        a.tp, MakeError(ErrorCode::kUnknownTopicOrPartition, "topic '",
                        a.tp.topic, "' is not there (any more)")});
  }
  if (stopping_.contains(*tp)) {
    return Do(ReadingEnded{a.tp, MakeError(ErrorCode::kOffsetNotAvailable,
                                           "it is just being stopped")});
  }
  const auto before = reads_.find(a.tp);
  const bool made_again = before != reads_.end() && before->second.tp != *tp;
  if (made_again ||
      (a.topic_id.is_set() && a.topic_id != tp->topic_id)) {
    // What is acknowledged is of the one before until the core begins anew.
    if (before != reads_.end()) reads_.erase(before);
    return Do(ReadingEnded{
        a.tp, MakeError(ErrorCode::kOffsetOutOfRange, "topic '", a.tp.topic,
                        "' was deleted and made again")});
  }
  Read& read = reads_[a.tp];
  read.tp = *tp;
  read.live = false;
  read.check = 0;
  read.committed_epoch = a.leader_epoch;
  topics_.Put(a.tp, tp->topic_id);
  // Of whatever leader gave the records below the start: its history is what
  // they are of.
  const LeaderEpoch known = std::max(read.leader_epoch, read.committed_epoch);
  const Offset* offset = std::get_if<Offset>(&a.start);
  if (offset != nullptr && known != kNoLeaderEpoch) {
    return AskWhetherCut(a.tp, read, *offset, known);
  }
  Subscribe(read, a.start);
}

void ConsumeStream::Subscribe(Read& read, const consume::Start& start) {
  read.live = true;
  api::SubscribePartition partition;
  partition.topic.id = read.tp.topic_id;
  partition.partition = read.tp.partition;
  partition.leader_epoch = EpochToReadBy(read.tp, read);
  if (const Offset* offset = std::get_if<Offset>(&start)) {
    partition.start = *offset;
  } else {
    partition.start = std::get<Edge>(start) == Edge::kLatest
                          ? api::StartPosition::kLatest
                          : api::StartPosition::kEarliest;
  }
  ask_.partitions.push_back(std::move(partition));
  AskSoon();
}

void ConsumeStream::Carry(const StopReading& a) {
  const auto found = reads_.find(a.tp);
  if (found == reads_.end()) return;
  const Read read = found->second;
  reads_.erase(found);
  if (!read.live) return;
  std::erase_if(ask_.partitions, [&read](const api::SubscribePartition& asked) {
    return asked.topic.id == read.tp.topic_id &&
           asked.partition == read.tp.partition;
  });
  api::SubscribePartition partition;
  partition.topic.id = read.tp.topic_id;
  partition.partition = read.tp.partition;
  ask_.stop.push_back(std::move(partition));
  ++stopping_[read.tp];
  AskSoon();
}

void ConsumeStream::Carry(const GrantReading& a) {
  ask_.credit_bytes += a.bytes;
  AskSoon();
}

void ConsumeStream::OnRecords(api::SubscribeResponse response) {
  if (sink_ == nullptr) return;
  const TopicPartition tp{response.result.topic.id, response.result.partition};
  const NamedPartition* name = topics_.NameOf(tp);
  const auto found = name == nullptr ? reads_.end() : reads_.find(*name);
  if (found == reads_.end() || stopping_.contains(tp)) {
    return Discard(response.charged_bytes);
  }
  const NamedPartition named = *name;
  Read& reading = found->second;
  if (!response.result.error.ok()) {
    reading.live = false;
    if (response.result.error.code == ErrorCode::kUnknownLeaderEpoch) {
      ++reading.refusals;
    }
    return Do(ReadingEnded{named,
                           MakeErrorStatus(response.result.error.code,
                                           response.result.error.message)});
  }
  reading.leader_epoch =
      std::max(reading.leader_epoch, response.result.leader_epoch);
  consume::Read read;
  read.tp = named;
  read.next = response.result.next_offset;
  read.leader_epoch = response.result.leader_epoch;
  read.bytes = response.charged_bytes;
  Do(std::move(read), std::move(response));
}

// Nobody is charged for what is not pushed on, and it takes no memory of the
// subscription. While other records are on their way their end says so.
void ConsumeStream::Discard(int64_t bytes) {
  current_.reset();
  if (sink_ == nullptr || subscription_ == nullptr) return;
  if (bytes > 0) Carry(GrantReading{bytes});
  if (unsent_ == 0) subscription_->OnDrained();
}

void ConsumeStream::OnRecordsEnded(const absl::Status& why) {
  if (sink_ == nullptr || why.ok()) return;
  why_ended_ = why;
  Do(Broken{});
}

}  // namespace sluice
