#include "test/sim/produce_answers.h"

#include <algorithm>
#include <variant>

#include "sluice/v1/transaction.pb.h"
#include "storage/batch_header.h"
#include "test/sim/wire.h"

namespace sluice::sim {

void ProduceAnswers::OnSent(const Message& message) {
  switch (message.kind) {
    case MessageKind::kProduce:
      return OnRequest({message.lane, 0},
                       Wire<api::ProduceRequest>::Decode(message.bytes));
    case MessageKind::kProduceReply:
      if (!message.status.ok()) return;
      OnResults({message.lane, 0},
                Wire<api::ProduceResponse>::Decode(message.bytes).results);
      asked_.erase({message.lane, 0});
      return;
    case MessageKind::kProduceStream: {
      const auto asked =
          Wire<api::ProduceStreamRequest>::Decode(message.bytes);
      return OnRequest({message.lane, asked.correlation_id}, asked.request);
    }
    case MessageKind::kProduceStreamReply: {
      const auto answer =
          Wire<api::ProduceStreamResponse>::Decode(message.bytes);
      const RequestId id{message.lane, answer.correlation_id};
      OnResults(id, answer.results);
      if (answer.complete) asked_.erase(id);
      return;
    }
    case MessageKind::kInitProducerIdReply: {
      if (!message.status.ok()) return;
      const auto answer =
          Wire<v1::InitProducerIdResponse>::Decode(message.bytes);
      identities_.push_back({message.from, ProducerId(answer.producer_id()),
                             answer.producer_epoch()});
      return;
    }
    case MessageKind::kStreamEnd:
      asked_.erase(asked_.lower_bound({message.lane, INT64_MIN}),
                   asked_.upper_bound({message.lane, INT64_MAX}));
      return;
    default:
      return;
  }
}

void ProduceAnswers::OnRequest(RequestId id,
                               const api::ProduceRequest& request) {
  if (request.acks != static_cast<int>(api::Acks::kAll)) return;
  std::vector<check::ProducerAnswer> asked;
  for (const api::ProducePartition& partition : request.partitions) {
    const auto* batches = std::get_if<MutableBuffer>(&partition.payload);
    if (batches == nullptr || !partition.partition.has_value()) continue;
    const auto header = BatchHeader::Parse(batches->view());
    if (!header.has_value() || header->producer_id == kNoProducerId) continue;
    asked.push_back({partition.topic.name, partition.topic.id,
                     *partition.partition, header->producer_id,
                     header->producer_epoch, header->base_sequence, kNoOffset,
                     false});
  }
  if (asked.empty()) return;
  asked_[id] = std::move(asked);
  if (asked_.size() > kRequestsMax) asked_.erase(asked_.begin());
}

void ProduceAnswers::OnResults(
    RequestId id, const std::vector<api::ProduceResult>& results) {
  const auto asked = asked_.find(id);
  if (asked == asked_.end()) return;
  for (const api::ProduceResult& result : results) {
    if (result.error.code != ErrorCode::kNone) continue;
    const auto found = std::find_if(
        asked->second.begin(), asked->second.end(),
        [&result](const check::ProducerAnswer& one) {
          return one.partition == result.partition &&
                 one.topic_name == result.topic.name &&
                 one.topic_id == result.topic.id;
        });
    if (found == asked->second.end()) continue;
    found->base = result.base_offset;
    found->duplicate = result.duplicate;
    answers_.push_back(*found);
  }
}

}  // namespace sluice::sim
