#include "client/group/blocking_groups.h"

#include <algorithm>
#include <utility>

namespace sluice {

// ---- From outside ----

BlockingGroups::BlockingGroups(BlockingClient* client,
                               GroupConnector* connector)
    : client_(client) {
  client_->Run([&] {
    connections_ = std::make_unique<GroupConnections>(
        connector, client_->deps().executor);
    admin_ = std::make_unique<GroupAdmin>(
        GroupAdmin::Deps{client_->deps(), client_->options(),
                         client_->metadata(), connections_.get()});
  });
}

BlockingGroups::~BlockingGroups() {
  client_->Run([this] {
    admin_.reset();
    connections_.reset();
  });
}

absl::StatusOr<v1::ListGroupsResponse> BlockingGroups::List(
    const v1::ListGroupsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::ListGroupsResponse>>(
      [&](auto reply) {
        admin_->ListGroups(request, timeout_us, std::move(reply));
      });
}

absl::StatusOr<v1::DescribeGroupsResponse> BlockingGroups::Describe(
    const v1::DescribeGroupsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::DescribeGroupsResponse>>(
      [&](auto reply) {
        admin_->DescribeGroups(request, timeout_us, std::move(reply));
      });
}

absl::StatusOr<v1::DeleteGroupsResponse> BlockingGroups::Delete(
    const v1::DeleteGroupsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::DeleteGroupsResponse>>(
      [&](auto reply) {
        admin_->DeleteGroups(request, timeout_us, std::move(reply));
      });
}

absl::StatusOr<v1::FetchOffsetsResponse> BlockingGroups::FetchOffsets(
    const v1::FetchOffsetsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::FetchOffsetsResponse>>(
      [&](auto reply) {
        admin_->FetchOffsets(request, timeout_us, std::move(reply));
      });
}

absl::StatusOr<v1::CommitOffsetsResponse> BlockingGroups::CommitOffsets(
    const v1::CommitOffsetsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::CommitOffsetsResponse>>(
      [&](auto reply) {
        admin_->CommitOffsets(request, timeout_us, std::move(reply));
      });
}

absl::StatusOr<v1::DeleteOffsetsResponse> BlockingGroups::DeleteOffsets(
    const v1::DeleteOffsetsRequest& request, int64_t timeout_us) {
  return client_->Await<absl::StatusOr<v1::DeleteOffsetsResponse>>(
      [&](auto reply) {
        admin_->DeleteOffsets(request, timeout_us, std::move(reply));
      });
}

// ---- A member ----

BlockingGroupConsumer::BlockingGroupConsumer(
    BlockingClient* client, GroupConnector* connector,
    const GroupConsumerOptions& options, RebalanceListener listener)
    : client_(client), listener_(std::move(listener)) {
  client_->Run([&] {
    consumer_ = std::make_unique<GroupConsumer>(
        GroupMember::Deps{client_->deps(), client_->options(),
                          client_->metadata(), connector},
        options);
  });
}

BlockingGroupConsumer::~BlockingGroupConsumer() {
  client_->Run([this] { consumer_.reset(); });
}

absl::Status BlockingGroupConsumer::Subscribe(
    const std::set<std::string>& topics) {
  absl::Status status;
  client_->Run([&] { status = consumer_->Subscribe(topics); });
  return status;
}

absl::Status BlockingGroupConsumer::SubscribePattern(
    const std::string& pattern) {
  absl::Status status;
  client_->Run([&] { status = consumer_->SubscribePattern(pattern); });
  return status;
}

void BlockingGroupConsumer::Tell(const Rebalance& rebalance) {
  switch (rebalance.kind) {
    case Rebalance::Kind::kAssigned:
      if (listener_.on_assigned) listener_.on_assigned(rebalance.partitions);
      return;
    case Rebalance::Kind::kRevoked:
      if (listener_.on_revoked) listener_.on_revoked(rebalance.partitions);
      return;
    case Rebalance::Kind::kLost:
      if (listener_.on_lost) listener_.on_lost(rebalance.partitions);
      return;
  }
}

absl::StatusOr<std::vector<FetchedBatch>> BlockingGroupConsumer::PollBatches(
    int64_t timeout_us, int64_t bytes_max) {
  const Clock& clock = *client_->deps().clock;
  const int64_t end_us = clock.MonoMicros() + timeout_us;
  while (true) {
    auto polled = client_->Await<absl::StatusOr<GroupPoll>>([&](auto reply) {
      const int64_t left_us = std::max<int64_t>(0, end_us - clock.MonoMicros());
      consumer_->Poll(left_us, bytes_max, std::move(reply));
    });
    if (!polled.ok()) return polled.status();
    if (!polled->rebalance.has_value()) return std::move(polled->batches);
    Tell(*polled->rebalance);
  }
}

absl::StatusOr<std::vector<ConsumerRecord>> BlockingGroupConsumer::Poll(
    int64_t timeout_us) {
  constexpr int64_t kPollBytes = 1 << 20;
  const auto batches = PollBatches(timeout_us, kPollBytes);
  if (!batches.ok()) return batches.status();
  std::vector<ConsumerRecord> records;
  for (const FetchedBatch& batch : *batches) {
    const absl::Status read =
        ForEachRecord(batch, [&](const DecodedRecord& record) {
          records.push_back(OwnedRecord(batch.tp, record));
          return true;
        });
    if (!read.ok()) return read;
  }
  return records;
}

absl::Status BlockingGroupConsumer::Commit() {
  return client_->Await<absl::Status>([this](auto reply) {
    auto shared = std::make_shared<decltype(reply)>(std::move(reply));
    consumer_->Commit([shared](const absl::Status& s) { (*shared)(s); });
  });
}

absl::Status BlockingGroupConsumer::CommitOffsets(
    const CommittedPositions& positions) {
  return client_->Await<absl::Status>([&](auto reply) {
    auto shared = std::make_shared<decltype(reply)>(std::move(reply));
    consumer_->CommitOffsets(positions,
                             [shared](const absl::Status& s) { (*shared)(s); });
  });
}

void BlockingGroupConsumer::CommitAsync(GroupConsumer::Done done) {
  client_->Run([&] {
    consumer_->Commit([done = std::move(done)](const absl::Status& status) {
      if (done != nullptr) done(status);
    });
  });
}

void BlockingGroupConsumer::CommitOffsetsAsync(
    const CommittedPositions& positions, GroupConsumer::Done done) {
  client_->Run([&] {
    consumer_->CommitOffsets(
        positions, [done = std::move(done)](const absl::Status& status) {
          if (done != nullptr) done(status);
        });
  });
}

absl::StatusOr<CommittedPositions> BlockingGroupConsumer::Committed(
    const std::vector<NamedPartition>& partitions) {
  return client_->Await<absl::StatusOr<CommittedPositions>>([&](auto reply) {
    auto shared = std::make_shared<decltype(reply)>(std::move(reply));
    consumer_->FetchCommitted(
        partitions, [shared](const auto& committed) { (*shared)(committed); });
  });
}

absl::Status BlockingGroupConsumer::Seek(const NamedPartition& tp,
                                         Offset offset) {
  absl::Status status;
  client_->Run([&] { status = consumer_->Seek(tp, offset); });
  return status;
}

absl::Status BlockingGroupConsumer::Pause(const NamedPartition& tp) {
  absl::Status status;
  client_->Run([&] { status = consumer_->Pause(tp); });
  return status;
}

absl::Status BlockingGroupConsumer::Resume(const NamedPartition& tp) {
  absl::Status status;
  client_->Run([&] { status = consumer_->Resume(tp); });
  return status;
}

std::optional<Offset> BlockingGroupConsumer::Position(
    const NamedPartition& tp) {
  std::optional<Offset> position;
  client_->Run([&] { position = consumer_->Position(tp); });
  return position;
}

std::vector<NamedPartition> BlockingGroupConsumer::Assignment() {
  std::vector<NamedPartition> assignment;
  client_->Run([&] { assignment = consumer_->Assignment(); });
  return assignment;
}

std::string BlockingGroupConsumer::MemberId() {
  std::string id;
  client_->Run([&] { id = consumer_->member().member_id(); });
  return id;
}

absl::Status BlockingGroupConsumer::Close() {
  const std::vector<NamedPartition> all = Assignment();
  if (!all.empty()) {
    Tell({Rebalance::Kind::kRevoked, {all.begin(), all.end()}});
  }
  return client_->Await<absl::Status>([this](auto reply) {
    auto shared = std::make_shared<decltype(reply)>(std::move(reply));
    consumer_->Close([shared](const absl::Status& s) { (*shared)(s); });
  });
}

}  // namespace sluice
