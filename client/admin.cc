#include "client/admin.h"

#include <algorithm>
#include <map>
#include <set>

#include "client/any_broker_call.h"
#include "common/base/error.h"

namespace sluice {
namespace {

template <class Response>
void CallAny(const ClientDeps& deps, const ClientOptions& client,
             MetadataCache* metadata, int64_t timeout_us,
             absl::AnyInvocable<void(BrokerPeer& peer, int64_t timeout_us,
                                     PeerReply<Response> reply)>
                 start,
             PeerReply<Response> reply) {
  std::make_shared<AnyBrokerCall<Response>>(
      deps, client, metadata, timeout_us,
      [metadata, start = std::move(start)](
          const api::Endpoint& endpoint, int64_t left_us,
          PeerReply<Response> answer) mutable {
        start(*metadata->connections().At(endpoint), left_us,
              std::move(answer));
      },
      std::move(reply))
      ->Try();
}

// Pages until there is no next token.
template <class Request, class Response>
class Paged : public std::enable_shared_from_this<Paged<Request, Response>> {
 public:
  using Method = void (BrokerPeer::*)(const Request&, int64_t,
                                      PeerReply<Response>);

  Paged(const ClientDeps& deps, const ClientOptions& client,
        MetadataCache* metadata, Method method, Request request,
        int64_t timeout_us, PeerReply<Response> reply)
      : deps_(deps),
        client_(client),
        metadata_(metadata),
        method_(method),
        request_(std::move(request)),
        timeout_us_(timeout_us),
        reply_(std::move(reply)) {}

  void Next() {
    CallAny<Response>(
        deps_, client_, metadata_, timeout_us_,
        [self = this->shared_from_this()](BrokerPeer& peer, int64_t timeout_us,
                                          PeerReply<Response> reply) {
          (peer.*self->method_)(self->request_, timeout_us, std::move(reply));
        },
        [self = this->shared_from_this()](absl::StatusOr<Response> page) {
          self->OnPage(std::move(page));
        });
  }

 private:
  void OnPage(absl::StatusOr<Response> page) {
    if (!page.ok()) return reply_(page.status());
    const std::string token = page->next_page_token();
    page->clear_next_page_token();
    all_.MergeFrom(*page);
    if (token.empty() || token == request_.page_token() ||
        all_.topics_size() >= Admin::kTopicsMax) {
      return reply_(std::move(all_));
    }
    request_.set_page_token(token);
    Next();
  }

  const ClientDeps deps_;
  const ClientOptions client_;
  MetadataCache* const metadata_;
  const Method method_;
  Request request_;
  const int64_t timeout_us_;
  PeerReply<Response> reply_;
  Response all_;
};

// Asks each leader for the logs it leads and puts them into one answer.
class LogMerge : public std::enable_shared_from_this<LogMerge> {
 public:
  LogMerge(const ClientDeps& deps, MetadataCache* metadata,
           v1::DescribeTopicsRequest request, int64_t timeout_us,
           PeerReply<v1::DescribeTopicsResponse> reply)
      : deps_(deps),
        metadata_(metadata),
        request_(std::move(request)),
        timeout_us_(timeout_us),
        reply_(std::move(reply)) {}

  void Begin(absl::StatusOr<v1::DescribeTopicsResponse> first) {
    if (!first.ok()) return reply_(first.status());
    answer_ = *std::move(first);
    std::map<api::Endpoint, std::set<std::string>> to_ask;
    for (int t = 0; t < answer_.topics_size(); ++t) {
      const auto& topic = answer_.topics(t);
      index_[topic.metadata().name()] = t;
      std::set<int32_t> told;
      for (const auto& log : topic.logs()) {
        if (!log.has_error()) told.insert(log.partition());
      }
      for (const auto& partition : topic.metadata().partitions()) {
        if (told.contains(partition.partition()) ||
            partition.leader_id() <= 0) {
          continue;
        }
        to_ask[{partition.leader_endpoint().host(),
                partition.leader_endpoint().port()}]
            .insert(topic.metadata().name());
      }
    }
    open_ = to_ask.size();
    if (open_ == 0) return Finish();
    for (const auto& [endpoint, topics] : to_ask) Ask(endpoint, topics);
  }

 private:
  void Ask(const api::Endpoint& endpoint, const std::set<std::string>& topics) {
    v1::DescribeTopicsRequest request = request_;
    request.clear_topics();
    request.clear_page_token();
    request.set_page_size(10'000);
    for (const std::string& topic : topics) {
      request.add_topics()->set_name(topic);
    }
    metadata_->connections().At(endpoint)->DescribeTopics(
        request, timeout_us_,
        [self = shared_from_this()](
            absl::StatusOr<v1::DescribeTopicsResponse> answer) {
          if (answer.ok()) self->Merge(*answer);
          if (--self->open_ == 0) self->Finish();
        });
  }

  void Merge(const v1::DescribeTopicsResponse& other) {
    for (const auto& topic : other.topics()) {
      const auto found = index_.find(topic.metadata().name());
      if (found == index_.end()) continue;
      auto* into = answer_.mutable_topics(found->second);
      for (const auto& log : topic.logs()) {
        if (log.has_error()) continue;
        auto* logs = into->mutable_logs();
        auto same = std::find_if(logs->begin(), logs->end(),
                                 [&](const v1::PartitionLog& known) {
                                   return known.partition() == log.partition();
                                 });
        if (same == logs->end()) {
          *logs->Add() = log;
        } else if (same->has_error() ||
                   same->log_end_offset() < log.log_end_offset()) {
          *same = log;
        }
      }
    }
  }

  void Finish() {
    for (auto& topic : *answer_.mutable_topics()) {
      std::sort(topic.mutable_logs()->begin(), topic.mutable_logs()->end(),
                [](const v1::PartitionLog& a, const v1::PartitionLog& b) {
                  return a.partition() < b.partition();
                });
    }
    reply_(std::move(answer_));
  }

  const ClientDeps deps_;
  MetadataCache* const metadata_;
  const v1::DescribeTopicsRequest request_;
  const int64_t timeout_us_;
  PeerReply<v1::DescribeTopicsResponse> reply_;
  v1::DescribeTopicsResponse answer_;
  std::map<std::string, int> index_;
  size_t open_ = 0;
};

// A call of one message that any broker answers.
template <class Request, class Response>
auto Calling(void (BrokerPeer::*method)(const Request&, int64_t,
                                        PeerReply<Response>),
             Request request) {
  return [method, request = std::move(request)](
             BrokerPeer& peer, int64_t timeout_us, PeerReply<Response> reply) {
    (peer.*method)(request, timeout_us, std::move(reply));
  };
}

}  // namespace

Admin::Admin(const ClientDeps& deps, const ClientOptions& client,
             MetadataCache* metadata)
    : deps_(deps), client_(client), metadata_(metadata) {}

void Admin::CreateTopics(v1::CreateTopicsRequest request, int64_t timeout_us,
                         PeerReply<v1::CreateTopicsResponse> reply) {
  CallAny<v1::CreateTopicsResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::CreateTopics, std::move(request)), std::move(reply));
}

void Admin::CreatePartitions(v1::CreatePartitionsRequest request,
                             int64_t timeout_us,
                             PeerReply<v1::CreatePartitionsResponse> reply) {
  CallAny<v1::CreatePartitionsResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::CreatePartitions, std::move(request)),
      std::move(reply));
}

void Admin::DeleteTopics(v1::DeleteTopicsRequest request, int64_t timeout_us,
                         PeerReply<v1::DeleteTopicsResponse> reply) {
  CallAny<v1::DeleteTopicsResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::DeleteTopics, std::move(request)), std::move(reply));
}

void Admin::DescribeConfigs(v1::DescribeConfigsRequest request,
                            int64_t timeout_us,
                            PeerReply<v1::DescribeConfigsResponse> reply) {
  CallAny<v1::DescribeConfigsResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::DescribeConfigs, std::move(request)),
      std::move(reply));
}

void Admin::AlterConfigs(v1::AlterConfigsRequest request, int64_t timeout_us,
                         PeerReply<v1::AlterConfigsResponse> reply) {
  CallAny<v1::AlterConfigsResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::AlterConfigs, std::move(request)), std::move(reply));
}

void Admin::ElectLeaders(v1::ElectLeadersRequest request, int64_t timeout_us,
                         PeerReply<v1::ElectLeadersResponse> reply) {
  CallAny<v1::ElectLeadersResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::ElectLeaders, std::move(request)), std::move(reply));
}

void Admin::ResetReplica(v1::ResetReplicaRequest request, int64_t timeout_us,
                         PeerReply<v1::ResetReplicaResponse> reply) {
  v1::GetMetadataRequest where;
  where.set_brokers_only(true);
  const std::weak_ptr<const void> lives = metadata_->lifetime();
  GetMetadata(
      std::move(where), timeout_us,
      [metadata = metadata_, lives, timeout_us, request = std::move(request),
       reply = std::move(reply)](
          absl::StatusOr<v1::GetMetadataResponse> known) mutable {
        if (!known.ok()) return reply(known.status());
        for (const v1::Broker& broker : known->brokers()) {
          if (broker.id() != request.broker_id() || lives.expired()) continue;
          const v1::Endpoint& at = broker.listeners(0).endpoint();
          return metadata->connections()
              .At({at.host(), at.port()})
              ->ResetReplica(request, timeout_us, std::move(reply));
        }
        reply(MakeError(ErrorCode::kBrokerNotAvailable, "broker ",
                        request.broker_id(),
                        " is not alive; start it, then ask again"));
      });
}

void Admin::ListTopics(v1::ListTopicsRequest request, int64_t timeout_us,
                       PeerReply<v1::ListTopicsResponse> reply) {
  std::make_shared<Paged<v1::ListTopicsRequest, v1::ListTopicsResponse>>(
      deps_, client_, metadata_, &BrokerPeer::ListTopics, std::move(request),
      timeout_us, std::move(reply))
      ->Next();
}

void Admin::DescribeTopics(v1::DescribeTopicsRequest request,
                           int64_t timeout_us,
                           PeerReply<v1::DescribeTopicsResponse> reply) {
  if (request.include_log()) {
    auto merge = std::make_shared<LogMerge>(deps_, metadata_, request,
                                            timeout_us, std::move(reply));
    reply = [merge](absl::StatusOr<v1::DescribeTopicsResponse> first) {
      merge->Begin(std::move(first));
    };
  }
  std::make_shared<
      Paged<v1::DescribeTopicsRequest, v1::DescribeTopicsResponse>>(
      deps_, client_, metadata_, &BrokerPeer::DescribeTopics,
      std::move(request), timeout_us, std::move(reply))
      ->Next();
}

void Admin::DescribeCluster(int64_t timeout_us,
                            PeerReply<v1::DescribeClusterResponse> reply) {
  CallAny<v1::DescribeClusterResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::DescribeCluster, v1::DescribeClusterRequest()),
      std::move(reply));
}

void Admin::GetMetadata(v1::GetMetadataRequest request, int64_t timeout_us,
                        PeerReply<v1::GetMetadataResponse> reply) {
  CallAny<v1::GetMetadataResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::GetMetadata, std::move(request)), std::move(reply));
}

void Admin::DescribeQuorum(int64_t timeout_us,
                           PeerReply<v1::DescribeQuorumResponse> reply) {
  CallAny<v1::DescribeQuorumResponse>(
      deps_, client_, metadata_, timeout_us,
      Calling(&BrokerPeer::DescribeQuorum, v1::DescribeQuorumRequest()),
      std::move(reply));
}

}  // namespace sluice
