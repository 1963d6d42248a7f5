// Who coordinates a group, and which groups there are.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "broker/coordinator/group_handlers.h"
#include "broker/group/commit_rules.h"
#include "broker/present_metadata.h"
#include "common/base/error.h"

namespace sluice::coordinator {
namespace {

constexpr int32_t kPageMax = 1'000;
// Coordinators that could not be asked and are named; the rest are not.
constexpr int kListErrorsMax = 50;

void PutCoordinator(const MetadataImage& image, const std::string& key,
                    NodeId self, v1::CoordinatorResult* out) {
  out->set_key(key);
  out->set_node_id(kNoNode.value());
  if (group::CheckGroupId(key) != ErrorCode::kNone) {
    return PutError(ErrorCode::kInvalidGroupId, key, out->mutable_error());
  }
  const auto found = CoordinatorOf(image, key);
  if (!found.ok()) return PutError(found.status(), out->mutable_error());
  out->set_partition(found->tp.partition.value());
  if (found->node == kNoNode || found->public_endpoint.host.empty()) {
    Coordinator nobody = *found;
    nobody.node = kNoNode;
    return PutError(RefusalBy(self, nobody).why, out->mutable_error());
  }
  out->set_node_id(found->node.value());
  out->mutable_endpoint()->set_host(found->public_endpoint.host);
  out->mutable_endpoint()->set_port(found->public_endpoint.port);
}

}  // namespace

void GroupHandlers::FindCoordinator(
    const api::CallContext& context, v1::FindCoordinatorRequest request,
    PeerReply<v1::FindCoordinatorResponse> reply) {
  absl::Status bad;
  if (request.type() != v1::FindCoordinatorRequest::TYPE_UNSPECIFIED &&
      request.type() != v1::FindCoordinatorRequest::TYPE_GROUP) {
    bad = MakeError(ErrorCode::kInvalidRequest, "coordinators of type ",
                    static_cast<int>(request.type()),
                    " are not known; the one type is GROUP");
  } else if (request.keys_size() < 1 ||
             request.keys_size() > kGroupsPerCallMax) {
    bad = MakeError(ErrorCode::kInvalidRequest, request.keys_size(),
                    " keys in one call; at least 1, at most ",
                    kGroupsPerCallMax);
  }
  const bool any =
      bad.ok() && std::any_of(request.keys().begin(), request.keys().end(),
                              [](const std::string& key) {
                                return group::CheckGroupId(key) ==
                                       ErrorCode::kNone;
                              });
  WithTopic(any ? NoTopic::kMake : NoTopic::kRetry,
            [this, bad, request = std::move(request),
             reply = std::move(reply)](absl::StatusOr<Image> image) mutable {
    if (!bad.ok()) return reply(bad);
    v1::FindCoordinatorResponse response;
    for (const std::string& key : request.keys()) {
      v1::CoordinatorResult* result = response.add_results();
      if (image.ok()) {
        PutCoordinator(**image, key, deps_.self, result);
      } else {
        result->set_key(key);
        result->set_node_id(kNoNode.value());
        PutError(image.status(), result->mutable_error());
      }
    }
    reply(std::move(response));
  });
}

// ---- All groups ----

// Of the worker.
struct GroupHandlers::Listing {
  v1::ListGroupsRequest request;
  size_t max = 0;
  std::set<int> states;
  std::map<std::string, v1::ListedGroup> found;
  v1::ListGroupsResponse response;
  size_t missing = 1;  // this broker's own are counted while it is spread
  PeerReply<v1::ListGroupsResponse> reply;

  void Add(v1::ListedGroup group) {
    std::string name = group.group_id();
    found.insert_or_assign(std::move(name), std::move(group));
  }
  void AddError(const absl::Status& why) {
    if (response.errors_size() < kListErrorsMax) {
      PutError(why, response.add_errors());
    }
  }
  void Done() {
    if (--missing > 0) return;
    for (auto& [name, group] : found) {
      if (static_cast<size_t>(response.groups_size()) == max) {
        response.set_next_page_token(
            response.groups(response.groups_size() - 1).group_id());
        break;
      }
      *response.add_groups() = std::move(group);
    }
    reply(std::move(response));
  }
};

void GroupHandlers::ListGroups(const api::CallContext& context,
                               v1::ListGroupsRequest request,
                               PeerReply<v1::ListGroupsResponse> reply) {
  auto listing = std::make_shared<Listing>();
  listing->max = static_cast<size_t>(
      request.page_size() <= 0 ? kPageMax
                               : std::min(request.page_size(), kPageMax));
  for (const int state : request.states()) listing->states.insert(state);
  listing->request = std::move(request);
  listing->reply = std::move(reply);
  deps_.worker->Post([this, context, listing] {
    const Image image = deps_.image->Load();
    if (const absl::Status present = CheckMetadataIsPresent(*image);
        !present.ok()) {
      return listing->reply(present);
    }
    const TopicImage* topic = OffsetsTopic(*image);
    // Before the first group there is no topic.
    if (topic != nullptr) SpreadListing(context, *image, *topic, listing);
    listing->Done();
  });
}

void GroupHandlers::SpreadListing(const api::CallContext& context,
                                  const MetadataImage& image,
                                  const TopicImage& topic,
                                  const std::shared_ptr<Listing>& listing) {
  const bool asks_others = context.listener != kInternalListener;
  std::map<NodeId, Coordinator> others;
  for (int32_t p = 0; p < static_cast<int32_t>(topic.partitions.size()); ++p) {
    const Coordinator to = CoordinatorOf(image, topic, PartitionIndex(p));
    if (to.node == deps_.self) {
      ListHere(to.tp, listing);
    } else if (asks_others && !routes_.HandsOn(context, to)) {
      listing->AddError(RefusalBy(deps_.self, to).why);
    } else if (asks_others) {
      others[to.node] = to;
    }
  }
  for (const auto& [node, to] : others) {
    ++listing->missing;
    routes_.At(to.internal_endpoint)
        ->ListGroups(listing->request, routes_.TimeLeftUs(context),
                     [listing, to = to](
                         absl::StatusOr<v1::ListGroupsResponse> theirs) {
                       if (theirs.ok()) {
                         for (auto& group : *theirs->mutable_groups()) {
                           listing->Add(std::move(group));
                         }
                         listing->response.mutable_errors()->MergeFrom(
                             theirs->errors());
                       } else {
                         listing->AddError(
                             HandingOnFailed(to, theirs.status()).why);
                       }
                       listing->Done();
                     });
  }
}

// One more than a page, so that it is known whether more follow.
void GroupHandlers::ListHere(const TopicPartition& tp,
                             const std::shared_ptr<Listing>& listing) {
  ++listing->missing;
  Executor* shard = deps_.hosts->HostOf(tp)->executor();
  shard->Post([this, shard, tp, listing, after = listing->request.page_token(),
               max = listing->max + 1, states = listing->states] {
    GroupCoordinator* found = deps_.coordinators->Find(shard, tp);
    auto groups =
        found != nullptr
            ? found->ListGroups(after, max, states)
            : absl::StatusOr<std::vector<v1::ListedGroup>>(MakeError(
                  ErrorCode::kCoordinatorLoadInProgress, "broker ", deps_.self,
                  " does not host partition ", tp, " yet; try again"));
    deps_.worker->Post([listing, groups = std::move(groups)]() mutable {
      if (groups.ok()) {
        for (v1::ListedGroup& group : *groups) listing->Add(std::move(group));
      } else {
        listing->AddError(groups.status());
      }
      listing->Done();
    });
  });
}

}  // namespace sluice::coordinator
