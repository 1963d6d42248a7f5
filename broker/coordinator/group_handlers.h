// GroupService of a broker: each call goes to the coordinator of its group, on
// the shard that has it or on the broker that leads it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/coordinator/group_coordinators.h"
#include "broker/coordinator/group_lag.h"
#include "broker/coordinator/group_routes.h"
#include "broker/group_api.h"
#include "broker/partition_host.h"
#include "common/env/published.h"
#include "controller/metadata/image.h"

namespace sluice::coordinator {

class GroupHandlers final : public GroupApi {
 public:
  // While a topic is made: the controllers may be electing.
  static constexpr int64_t kEnsureTimeoutUs = 10'000'000;
  // Calls that wait for the topic; more are BUSY.
  static constexpr size_t kWaitingMax = 1'000;

  struct Deps {
    NodeId self;
    const Clock* clock = nullptr;
    Executor* worker = nullptr;
    PartitionHosts* hosts = nullptr;
    const Published<MetadataImage>* image = nullptr;
    GroupCoordinators* coordinators = nullptr;
    GroupConnector* connector = nullptr;  // null: nothing is handed on
    // Makes __consumer_offsets if it is not there; answers, on any thread, when
    // this broker's image has it.
    std::function<void(int64_t deadline_us,
                       absl::AnyInvocable<void(absl::Status)> done)>
        ensure_topic;
    LagSources lag;
  };

  explicit GroupHandlers(Deps deps);

#define SLUICE_GROUP_CALL(Name)                                    \
  void Name(const api::CallContext& context, v1::Name##Request request, \
            PeerReply<v1::Name##Response> reply) override;
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL

 private:
  using Image = std::shared_ptr<const MetadataImage>;

  // What becomes of a call before the first group, while there is no
  // __consumer_offsets. As Kafka has it, who is about to be coordinated
  // (FindCoordinator, a join, a commit) makes it, and nobody else.
  enum class NoTopic {
    kMake,
    // Members look again: what this broker knows may be old, and "nothing is
    // committed" would be wrong then (GR6).
    kRetry,
    kNotFound,  // operators: as the list, which is empty
  };

  // `then` runs on the worker, with an image that has the topic if it is made.
  void WithTopic(NoTopic otherwise,
                 absl::AnyInvocable<void(absl::StatusOr<Image>)> then);
  void OnEnsured(const absl::Status& status);

  // A call about one group.
  template <class Request, class Response>
  void RouteOne(const api::CallContext& context, NoTopic otherwise,
                Request request,
                void (GroupCoordinator::*here)(const api::CallContext&,
                                               Request, PeerReply<Response>),
                void (GroupPeer::*there)(const Request&, int64_t,
                                         PeerReply<Response>),
                PeerReply<Response> reply);
  template <class Request, class Response>
  void SendOne(const api::CallContext& context, const Coordinator& to,
               Request request,
               void (GroupCoordinator::*here)(const api::CallContext&,
                                              Request, PeerReply<Response>),
               void (GroupPeer::*there)(const Request&, int64_t,
                                        PeerReply<Response>),
               PeerReply<Response> reply);

  // A call about many groups: each is asked where it is, the answers come in
  // the order asked.
  template <class Item>
  struct Many;
  template <class Item>
  void RouteMany(const api::CallContext& context,
                 std::shared_ptr<Many<Item>> many);
  template <class Item>
  void SpreadMany(const api::CallContext& context, const MetadataImage& image,
                  std::shared_ptr<Many<Item>> many);

  // group_listing.cc
  struct Listing;
  void SpreadListing(const api::CallContext& context,
                     const MetadataImage& image, const TopicImage& topic,
                     const std::shared_ptr<Listing>& listing);
  void ListHere(const TopicPartition& tp,
                const std::shared_ptr<Listing>& listing);

  const Deps deps_;
  GroupRoutes routes_;
  // On the worker.
  std::vector<absl::AnyInvocable<void(absl::Status)>> waiting_;
};

}  // namespace sluice::coordinator
