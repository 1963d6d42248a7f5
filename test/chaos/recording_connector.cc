#include "test/chaos/recording_connector.h"

#include <map>
#include <utility>
#include <vector>

#include "common/base/invariant.h"
#include "test/chaos/chaos_value.h"

namespace sluice::chaos {
namespace {

NamedPartition NameOf(const api::TopicRef& topic, PartitionIndex partition) {
  return {topic.name, partition};
}

// The requests of one stream that are not answered whole: what each carried.
// Bounded by what a broker takes unanswered.
class OpenRequests {
 public:
  explicit OpenRequests(Recorder* recorder) : recorder_(*recorder) {}

  void Sent(const api::ProduceStreamRequest& frame) {
    std::vector<Piece>& pieces = pieces_of_[frame.correlation_id];
    for (const api::ProducePartition& asked : frame.request.partitions) {
      const auto& bytes = std::get<MutableBuffer>(asked.payload);
      const auto records = RecordsIn(bytes.view());
      INVARIANT(records.ok(), std::string(records.status().message()));
      recorder_.Carried(*records);
      INVARIANT(asked.partition.has_value() && asked.leader_epoch.has_value(),
                "the client names partition and leader epoch");
      Piece& piece = pieces.emplace_back();
      piece.tp = NameOf(asked.topic, *asked.partition);
      piece.leader_epoch = *asked.leader_epoch;
      for (const check::StoredRecord& record : *records) {
        piece.names.push_back(record.value.name);
      }
    }
  }

  // A broker answers for no epoch but the one in the question.
  void Answered(const api::ProduceStreamResponse& frame) {
    const auto found = pieces_of_.find(frame.correlation_id);
    if (found == pieces_of_.end()) return;
    for (const api::ProduceResult& result : frame.results) {
      if (!result.error.ok()) continue;
      const NamedPartition tp = NameOf(result.topic, result.partition);
      for (const Piece& piece : found->second) {
        if (piece.tp != tp) continue;
        recorder_.Answered(piece.names, piece.leader_epoch.value());
      }
    }
    if (frame.complete) pieces_of_.erase(found);
  }

 private:
  struct Piece {
    NamedPartition tp;
    LeaderEpoch leader_epoch;
    std::vector<check::ValueName> names;
  };

  Recorder& recorder_;
  std::map<int64_t, std::vector<Piece>> pieces_of_;  // by correlation id
};

// Sends and answers run on the client's executor, both.
class RecordingSender final : public ProduceSender {
 public:
  RecordingSender(std::shared_ptr<OpenRequests> open,
                  std::shared_ptr<ProduceSender> real)
      : open_(std::move(open)), real_(std::move(real)) {}

  void Send(api::ProduceStreamRequest frame) override {
    open_->Sent(frame);
    real_->Send(std::move(frame));
  }
  void Close() override { real_->Close(); }

 private:
  const std::shared_ptr<OpenRequests> open_;
  const std::shared_ptr<ProduceSender> real_;
};

class RecordingPeer final : public BrokerPeer {
 public:
  RecordingPeer(std::shared_ptr<BrokerPeer> real, Recorder* recorder)
      : real_(std::move(real)), recorder_(*recorder) {}

  const api::Endpoint& endpoint() const override { return real_->endpoint(); }

  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    real_->Produce(std::move(request), timeout_us, std::move(reply));
  }

  std::shared_ptr<MetadataWatchSender> OpenMetadataWatch(
      MetadataWatchEvents events) override {
    return real_->OpenMetadataWatch(std::move(events));
  }

  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override {
    auto open = std::make_shared<OpenRequests>(&recorder_);
    events.on_frame = [open, on_frame = std::move(events.on_frame)](
                          api::ProduceStreamResponse frame) mutable {
      open->Answered(frame);
      on_frame(std::move(frame));
    };
    auto real = real_->OpenProduceStream(std::move(events));
    return std::make_shared<RecordingSender>(std::move(open), std::move(real));
  }

  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    real_->Fetch(
        request, timeout_us,
        [&recorder = recorder_, began_us = recorder_.NowUs(),
         asked = request.partitions, reply = std::move(reply)](
            absl::StatusOr<api::FetchResponse> answer) mutable {
          if (answer.ok()) {
            // The answer names topics by their ids, as they were asked for.
            for (size_t i = 0; i < answer->results.size(); ++i) {
              const api::FetchResult& result = answer->results[i];
              if (!result.error.ok() || i >= asked.size()) continue;
              recorder.Shown(check::Answer::Kind::kFetch,
                             NameOf(asked[i].topic, result.partition), began_us,
                             result.leader_epoch.value(),
                             result.high_watermark.value());
            }
          }
          reply(std::move(answer));
        });
  }

  // The epoch is the question's: the broker refuses any other than its own.
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    real_->ListOffsets(
        request, timeout_us,
        [&recorder = recorder_, began_us = recorder_.NowUs(),
         asked = request.partitions, reply = std::move(reply)](
            absl::StatusOr<api::ListOffsetsResponse> answer) mutable {
          if (answer.ok() && answer->results.size() == asked.size()) {
            for (size_t i = 0; i < asked.size(); ++i) {
              const api::ListOffsetsResult& result = answer->results[i];
              if (!result.error.ok() ||
                  asked[i].position != api::OffsetPosition::kLatest) {
                continue;
              }
              recorder.Shown(
                  check::Answer::Kind::kLatest,
                  NameOf(asked[i].topic, asked[i].partition), began_us,
                  asked[i].leader_epoch.value_or(kNoLeaderEpoch).value(),
                  result.offset.value());
            }
          }
          reply(std::move(answer));
        });
  }

  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    real_->DeleteRecords(request, timeout_us, std::move(reply));
  }
  void DescribeCluster(const v1::DescribeClusterRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override {
    real_->DescribeCluster(request, timeout_us, std::move(reply));
  }
  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override {
    real_->GetMetadata(request, timeout_us, std::move(reply));
  }
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    real_->DescribeQuorum(request, timeout_us, std::move(reply));
  }
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    real_->CreateTopics(request, timeout_us, std::move(reply));
  }
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override {
    real_->CreatePartitions(request, timeout_us, std::move(reply));
  }
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    real_->DeleteTopics(request, timeout_us, std::move(reply));
  }
  void DescribeConfigs(const v1::DescribeConfigsRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply) override {
    real_->DescribeConfigs(request, timeout_us, std::move(reply));
  }
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override {
    real_->AlterConfigs(request, timeout_us, std::move(reply));
  }
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override {
    real_->ElectLeaders(request, timeout_us, std::move(reply));
  }
  void ResetReplica(const v1::ResetReplicaRequest& request, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply) override {
    real_->ResetReplica(request, timeout_us, std::move(reply));
  }
  void InitProducerId(const v1::InitProducerIdRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply) override {
    real_->InitProducerId(request, timeout_us, std::move(reply));
  }
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override {
    real_->ListTopics(request, timeout_us, std::move(reply));
  }
  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override {
    real_->DescribeTopics(request, timeout_us, std::move(reply));
  }

 private:
  const std::shared_ptr<BrokerPeer> real_;
  Recorder& recorder_;
};

class RecordingConnector final : public BrokerConnector {
 public:
  RecordingConnector(std::unique_ptr<BrokerConnector> real, Recorder* recorder)
      : real_(std::move(real)), recorder_(recorder) {}

  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<RecordingPeer>(real_->Connect(endpoint, executor),
                                           recorder_);
  }

 private:
  const std::unique_ptr<BrokerConnector> real_;
  Recorder* const recorder_;
};

}  // namespace

std::unique_ptr<BrokerConnector> MakeRecordingConnector(
    std::unique_ptr<BrokerConnector> real, Recorder* recorder) {
  return std::make_unique<RecordingConnector>(std::move(real), recorder);
}

}  // namespace sluice::chaos
