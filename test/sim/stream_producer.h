// A program that speaks ProduceStream itself: many requests of a partition in
// flight, records for the broker to encode, nothing ever sent again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/metadata_cache.h"
#include "client/peers/leader_peer.h"
#include "test/sim/open_calls.h"
#include "test/sim/record_ledger.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/stream_producer_plan.h"

namespace sluice::sim {

// What a broker promises about one stream is checked here: each partition of
// each request is answered once, in the order of the requests, and lies in it.
class StreamProducer {
 public:
  struct Deps {
    SimCluster* cluster = nullptr;
    StreamProducerPlan plan;
    int number = 0;  // of its records
    int record_bytes = 20;
    std::vector<NamedPartition> partitions;
    std::function<void(const NamedPartition&, const RecordName&,
                       const std::string& value)>
        on_sent;
    std::function<void(const api::ProduceResult&, LeaderEpoch)> on_produced;
    std::function<void(const NamedPartition&, const RecordName&,
                       const absl::StatusOr<Offset>&)>
        on_settled;
    OpenCalls* calls = nullptr;
    std::function<void(const std::string&)> report;
  };

  static constexpr int32_t kTimeoutMs = 5'000;

  explicit StreamProducer(Deps deps);
  ~StreamProducer();

  void Start();
  // Nothing new is sent.
  void Stop() { stopped_ = true; }

 private:
  struct Asked {
    LeaderEpoch epoch = kNoLeaderEpoch;
    std::vector<RecordName> names;
  };
  struct Request {
    OpenCalls::Id call = 0;
    std::map<NamedPartition, Asked> open;  // not answered
  };
  struct Stream {
    uint64_t number = 0;
    std::shared_ptr<ProduceSender> sender;
    std::map<int64_t, Request> requests;  // by correlation id
    std::map<NamedPartition, std::deque<int64_t>> order;
    std::map<NamedPartition, Offset> last;  // where the newest lies
  };

  void SendSome();
  void SendOne();
  bool AddPartition(const NamedPartition& tp, api::ProduceRequest& request,
                    Request& open, api::Endpoint& to);
  Stream& StreamTo(const api::Endpoint& to);
  void OnAnswer(const api::Endpoint& to, uint64_t number,
                const api::ProduceStreamResponse& answer);
  void OnResult(Stream& stream, int64_t id, Request& request,
                const api::ProduceResult& result);
  void OnRefused(Stream& stream, int64_t id, Request& request,
                 const api::ItemError& error);
  void Settle(const NamedPartition& tp, const Asked& asked,
              const absl::StatusOr<Offset>& base);
  void OnClosed(const api::Endpoint& to, uint64_t number);

  const Deps deps_;
  const LifePtr life_;
  Random random_;
  std::unique_ptr<Executor> executor_;
  ClientDeps client_deps_;
  ClientOptions options_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<LeaderConnector> streams_to_;
  std::unique_ptr<MetadataCache> metadata_;
  std::map<api::Endpoint, Stream> streams_;
  uint64_t next_stream_ = 1;
  int64_t next_request_ = 1;
  int64_t next_record_ = 0;
  NodeId gateway_{1};
  bool stopped_ = false;
};

}  // namespace sluice::sim
