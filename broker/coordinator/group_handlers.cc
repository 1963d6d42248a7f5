#include "broker/coordinator/group_handlers.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "broker/group/commit_rules.h"
#include "broker/present_metadata.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "controller/metadata/internal_topics.h"

namespace sluice::coordinator {
namespace {

// ---- What a call about one group is refused with ----

template <class Request, class Response>
Response RefusalOf(const Refusal& why, const Request&) {
  Response response;
  PutRefusal(why, response);
  return response;
}

template <>
v1::CommitOffsetsResponse RefusalOf(const Refusal& why,
                                    const v1::CommitOffsetsRequest& request) {
  v1::CommitOffsetsResponse response;
  PutRefusal(why, request, response);
  return response;
}

absl::Status CheckGroup(const std::string& group) {
  if (group::CheckGroupId(group) == ErrorCode::kNone) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidGroupId, "a group id of ", group.size(),
                   " bytes; it has 1 to ", group::kGroupIdBytesMax);
}

absl::Status NoSuchGroup(const std::string& group) {
  return MakeError(ErrorCode::kGroupIdNotFound, "group \"", group,
                   "\": there is no such group");
}

absl::Status CheckCount(const char* what, int count, int max) {
  if (count >= 1 && count <= max) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, count, " ", what,
                   " in one call; at least 1, at most ", max);
}

// Who a member is, as its own broker sees it.
void Complete(const api::CallContext& context, v1::JoinGroupRequest& request) {
  const bool handed_on = context.listener == kInternalListener;
  if (!handed_on || request.client_host().empty()) {
    request.set_client_host(context.peer_address);
  }
  if (!handed_on && request.client_id().empty()) {
    request.set_client_id(context.client_id);
  }
}
template <class Request>
void Complete(const api::CallContext&, Request&) {}

}  // namespace

GroupHandlers::GroupHandlers(Deps deps)
    : deps_(std::move(deps)),
      routes_({deps_.self, deps_.worker, deps_.clock, deps_.connector}) {}

// ---- The topic ----

void GroupHandlers::WithTopic(
    NoTopic otherwise, absl::AnyInvocable<void(absl::StatusOr<Image>)> then) {
  deps_.worker->Post([this, otherwise, then = std::move(then)]() mutable {
    Image image = deps_.image->Load();
    if (OffsetsTopic(*image) != nullptr) return then(std::move(image));
    if (const absl::Status present = CheckMetadataIsPresent(*image);
        !present.ok()) {
      // In the words of groups: members know what to do then.
      return then(MakeErrorStatus(ErrorCode::kCoordinatorNotAvailable,
                                  std::string(present.message())));
    }
    if (otherwise != NoTopic::kMake && !MUTANT(kQuestionMakesTopic)) {
      return then(std::move(image));
    }
    if (waiting_.size() >= kWaitingMax) {
      return then(MakeError(ErrorCode::kBusy, waiting_.size(),
                            " calls wait for ",
                            kConsumerOffsetsTopic,
                            " to be made; try again"));
    }
    waiting_.push_back(
        [this, then = std::move(then)](const absl::Status& made) mutable {
          if (!made.ok()) return then(made);
          then(deps_.image->Load());
        });
    if (waiting_.size() > 1) return;
    deps_.ensure_topic(
        deps_.clock->MonoMicros() + kEnsureTimeoutUs,
        [this](const absl::Status& status) {
          deps_.worker->Post([this, status] { OnEnsured(status); });
        });
  });
}

void GroupHandlers::OnEnsured(const absl::Status& status) {
  const absl::Status made =
      status.ok() ? status
                  : MakeError(ErrorCode::kCoordinatorNotAvailable,
                              kConsumerOffsetsTopic,
                              " is not there and could not be made: ",
                              std::string(status.message()), "; try again");
  for (auto& waiter : std::exchange(waiting_, {})) waiter(made);
}

// ---- One group ----

template <class Request, class Response>
void GroupHandlers::RouteOne(
    const api::CallContext& context, NoTopic otherwise, Request request,
    void (GroupCoordinator::*here)(const api::CallContext&, Request,
                                   PeerReply<Response>),
    void (GroupPeer::*there)(const Request&, int64_t, PeerReply<Response>),
    PeerReply<Response> reply) {
  const absl::Status bad = CheckGroup(request.group_id());
  // A name that no group can have makes nothing.
  if (!bad.ok()) otherwise = NoTopic::kRetry;
  WithTopic(otherwise, [this, context, bad, otherwise, here, there,
                        request = std::move(request),
                        reply = std::move(reply)](
                           absl::StatusOr<Image> image) mutable {
    const auto refuse = [&](const Refusal& why) {
      reply(RefusalOf<Request, Response>(why, request));
    };
    if (!bad.ok()) return refuse({bad, {}});
    if (!image.ok()) return refuse({image.status(), {}});
    if (otherwise == NoTopic::kNotFound && OffsetsTopic(**image) == nullptr) {
      return refuse({NoSuchGroup(request.group_id()), {}});
    }
    const auto to = CoordinatorOf(**image, request.group_id());
    if (!to.ok()) return refuse({to.status(), {}});
    Complete(context, request);
    SendOne(context, *to, std::move(request), here, there, std::move(reply));
  });
}

// On the worker.
template <class Request, class Response>
void GroupHandlers::SendOne(
    const api::CallContext& context, const Coordinator& to, Request request,
    void (GroupCoordinator::*here)(const api::CallContext&, Request,
                                   PeerReply<Response>),
    void (GroupPeer::*there)(const Request&, int64_t, PeerReply<Response>),
    PeerReply<Response> reply) {
  if (to.node == deps_.self) {
    Executor* shard = deps_.hosts->HostOf(to.tp)->executor();
    shard->Post([this, shard, to, context, here, request = std::move(request),
                 reply = std::move(reply)]() mutable {
      GroupCoordinator* found = deps_.coordinators->Find(shard, to.tp);
      if (found != nullptr) {
        return (found->*here)(context, std::move(request), std::move(reply));
      }
      const Refusal why = {
          MakeError(ErrorCode::kCoordinatorLoadInProgress, "broker ",
                    deps_.self, " does not host the group's partition yet; "
                    "try again"),
          {}};
      reply(RefusalOf<Request, Response>(why, request));
    });
    return;
  }
  if (!routes_.HandsOn(context, to)) {
    return reply(
        RefusalOf<Request, Response>(RefusalBy(deps_.self, to), request));
  }
  const std::shared_ptr<GroupPeer> peer = routes_.At(to.internal_endpoint);
  // Without its payload, for a refusal.
  const auto asked = std::make_shared<Request>(std::move(request));
  ((*peer).*there)(*asked, routes_.TimeLeftUs(context),
                   [to, asked, reply = std::move(reply)](
                       absl::StatusOr<Response> response) mutable {
                     if (response.ok()) return reply(std::move(response));
                     reply(RefusalOf<Request, Response>(
                         HandingOnFailed(to, response.status()), *asked));
                   });
}

void GroupHandlers::JoinGroup(const api::CallContext& context,
                              v1::JoinGroupRequest request,
                              PeerReply<v1::JoinGroupResponse> reply) {
  RouteOne(context, NoTopic::kMake, std::move(request),
           &GroupCoordinator::JoinGroup, &GroupPeer::JoinGroup,
           std::move(reply));
}

void GroupHandlers::SyncGroup(const api::CallContext& context,
                              v1::SyncGroupRequest request,
                              PeerReply<v1::SyncGroupResponse> reply) {
  RouteOne(context, NoTopic::kRetry, std::move(request),
           &GroupCoordinator::SyncGroup, &GroupPeer::SyncGroup,
           std::move(reply));
}

void GroupHandlers::Heartbeat(const api::CallContext& context,
                              v1::HeartbeatRequest request,
                              PeerReply<v1::HeartbeatResponse> reply) {
  RouteOne(context, NoTopic::kRetry, std::move(request),
           &GroupCoordinator::Heartbeat, &GroupPeer::Heartbeat,
           std::move(reply));
}

void GroupHandlers::LeaveGroup(const api::CallContext& context,
                               v1::LeaveGroupRequest request,
                               PeerReply<v1::LeaveGroupResponse> reply) {
  RouteOne(context, NoTopic::kRetry, std::move(request),
           &GroupCoordinator::LeaveGroup, &GroupPeer::LeaveGroup,
           std::move(reply));
}

void GroupHandlers::CommitOffsets(const api::CallContext& context,
                                  v1::CommitOffsetsRequest request,
                                  PeerReply<v1::CommitOffsetsResponse> reply) {
  const absl::Status count = CheckCount("offsets", request.offsets_size(),
                                        kOffsetsPerCommitMax);
  if (!count.ok()) {
    deps_.worker->Post([count, reply = std::move(reply)]() mutable {
      reply(count);
    });
    return;
  }
  RouteOne(context, NoTopic::kMake, std::move(request),
           &GroupCoordinator::CommitOffsets, &GroupPeer::CommitOffsets,
           std::move(reply));
}

void GroupHandlers::DeleteOffsets(const api::CallContext& context,
                                  v1::DeleteOffsetsRequest request,
                                  PeerReply<v1::DeleteOffsetsResponse> reply) {
  const absl::Status count =
      CheckCount("topics", request.topics_size(), kOffsetsPerCommitMax);
  if (!count.ok()) {
    deps_.worker->Post([count, reply = std::move(reply)]() mutable {
      reply(count);
    });
    return;
  }
  RouteOne(context, NoTopic::kNotFound, std::move(request),
           &GroupCoordinator::DeleteOffsets, &GroupPeer::DeleteOffsets,
           std::move(reply));
}

// ---- Many groups ----

template <class Item>
struct GroupHandlers::Many {
  std::vector<std::string> names;
  NoTopic otherwise = NoTopic::kNotFound;
  bool own_replica = false;  // this broker's, whoever leads
  // On the shard.
  std::function<void(GroupCoordinator&, size_t index, PeerReply<Item>)> here;
  // On the worker.
  std::function<void(GroupPeer&, const std::vector<size_t>& indices,
                     int64_t timeout_us, PeerReply<std::vector<Item>>)>
      there;
  absl::AnyInvocable<void(absl::StatusOr<std::vector<Item>>)> done;

  // Of the worker.
  std::vector<Item> items;
  size_t missing = 0;

  void Put(size_t index, Item item) {
    items[index] = std::move(item);
    if (--missing == 0) done(std::move(items));
  }
  void Refuse(size_t index, const Refusal& why) {
    Item item;
    item.set_group_id(names[index]);
    PutRefusal(why, item);
    Put(index, std::move(item));
  }
};

template <class Item>
void GroupHandlers::RouteMany(const api::CallContext& context,
                              std::shared_ptr<Many<Item>> many) {
  WithTopic(many->otherwise, [this, context, many](
                                 absl::StatusOr<Image> image) {
    many->items.resize(many->names.size());
    many->missing = many->names.size();
    if (image.ok()) return SpreadMany(context, **image, many);
    for (size_t i = 0; i < many->names.size(); ++i) {
      many->Refuse(i, {image.status(), {}});
    }
  });
}

template <class Item>
void GroupHandlers::SpreadMany(const api::CallContext& context,
                               const MetadataImage& image,
                               std::shared_ptr<Many<Item>> many) {
  std::map<TopicPartition, std::vector<size_t>> local;
  std::map<NodeId, std::pair<Coordinator, std::vector<size_t>>> elsewhere;
  for (size_t i = 0; i < many->names.size(); ++i) {
    absl::Status bad = CheckGroup(many->names[i]);
    if (bad.ok() && many->otherwise == NoTopic::kNotFound &&
        OffsetsTopic(image) == nullptr) {
      bad = NoSuchGroup(many->names[i]);
    }
    const auto to = bad.ok() ? CoordinatorOf(image, many->names[i])
                             : absl::StatusOr<Coordinator>(bad);
    if (!to.ok()) {
      many->Refuse(i, {to.status(), {}});
    } else if (to->node == deps_.self || many->own_replica) {
      local[to->tp].push_back(i);
    } else if (routes_.HandsOn(context, *to)) {
      elsewhere[to->node].first = *to;
      elsewhere[to->node].second.push_back(i);
    } else {
      many->Refuse(i, RefusalBy(deps_.self, *to));
    }
  }
  for (auto& [tp, indices] : local) {
    Executor* shard = deps_.hosts->HostOf(tp)->executor();
    shard->Post([this, shard, tp = tp, many, indices = std::move(indices)] {
      GroupCoordinator* found = deps_.coordinators->Find(shard, tp);
      for (const size_t i : indices) {
        const auto put = [this, many, i](absl::StatusOr<Item> item) {
          deps_.worker->Post([many, i, item = std::move(item)]() mutable {
            item.ok() ? many->Put(i, *std::move(item))
                      : many->Refuse(i, {item.status(), {}});
          });
        };
        if (found != nullptr) {
          many->here(*found, i, put);
        } else {
          put(MakeError(ErrorCode::kCoordinatorLoadInProgress, "broker ",
                        deps_.self,
                        " does not host the group's partition yet; try "
                        "again"));
        }
      }
    });
  }
  for (auto& [node, handed] : elsewhere) {
    const auto& [to, indices] = handed;
    many->there(*routes_.At(to.internal_endpoint), indices,
                routes_.TimeLeftUs(context),
                [many, to = to, indices = indices](
                    absl::StatusOr<std::vector<Item>> items) {
                  if (items.ok() && items->size() != indices.size()) {
                    items = absl::InternalError("it left groups out");
                  }
                  for (size_t i = 0; i < indices.size(); ++i) {
                    items.ok() ? many->Put(indices[i], std::move((*items)[i]))
                               : many->Refuse(indices[i],
                                              HandingOnFailed(
                                                  to, items.status()));
                  }
                });
  }
}

void GroupHandlers::FetchOffsets(const api::CallContext& context,
                                 v1::FetchOffsetsRequest request,
                                 PeerReply<v1::FetchOffsetsResponse> reply) {
  auto many = std::make_shared<Many<v1::GroupOffsets>>();
  many->otherwise = NoTopic::kRetry;
  const absl::Status count =
      CheckCount("groups", request.groups_size(), kGroupsPerCallMax);
  for (const auto& group : request.groups()) {
    many->names.push_back(group.group_id());
  }
  const auto asked =
      std::make_shared<const v1::FetchOffsetsRequest>(std::move(request));
  many->own_replica = asked->own_view();
  many->here = [asked](GroupCoordinator& coordinator, size_t i,
                       PeerReply<v1::GroupOffsets> put) {
    const v1::GroupOffsetsQuery& query = asked->groups(static_cast<int>(i));
    put(asked->own_view() ? coordinator.FetchOwnView(query)
                          : coordinator.FetchOffsets(query));
  };
  many->there = [asked](GroupPeer& peer, const std::vector<size_t>& indices,
                        int64_t timeout_us,
                        PeerReply<std::vector<v1::GroupOffsets>> put) {
    v1::FetchOffsetsRequest part;
    part.set_require_stable(asked->require_stable());
    for (const size_t i : indices) {
      *part.add_groups() = asked->groups(static_cast<int>(i));
    }
    peer.FetchOffsets(
        part, timeout_us,
        [put = std::move(put)](
            absl::StatusOr<v1::FetchOffsetsResponse> response) mutable {
          if (!response.ok()) return put(response.status());
          put(std::vector<v1::GroupOffsets>(response->groups().begin(),
                                            response->groups().end()));
        });
  };
  many->done = [reply = std::move(reply)](
                   absl::StatusOr<std::vector<v1::GroupOffsets>>
                       items) mutable {
    if (!items.ok()) return reply(items.status());
    v1::FetchOffsetsResponse response;
    for (auto& item : *items) *response.add_groups() = std::move(item);
    reply(std::move(response));
  };
  if (count.ok()) return RouteMany(context, std::move(many));
  deps_.worker->Post([many, count] { many->done(count); });
}

void GroupHandlers::DeleteGroups(const api::CallContext& context,
                                 v1::DeleteGroupsRequest request,
                                 PeerReply<v1::DeleteGroupsResponse> reply) {
  auto many = std::make_shared<Many<v1::DeleteGroupResult>>();
  const absl::Status count =
      CheckCount("groups", request.group_ids_size(), kGroupsPerCallMax);
  many->names.assign(request.group_ids().begin(), request.group_ids().end());
  const auto names =
      std::make_shared<const std::vector<std::string>>(many->names);
  many->here = [names](GroupCoordinator& coordinator, size_t i,
                       PeerReply<v1::DeleteGroupResult> put) {
    coordinator.DeleteGroup((*names)[i], std::move(put));
  };
  many->there = [names](GroupPeer& peer, const std::vector<size_t>& indices,
                        int64_t timeout_us,
                        PeerReply<std::vector<v1::DeleteGroupResult>> put) {
    v1::DeleteGroupsRequest part;
    for (const size_t i : indices) part.add_group_ids((*names)[i]);
    peer.DeleteGroups(
        part, timeout_us,
        [put = std::move(put)](
            absl::StatusOr<v1::DeleteGroupsResponse> response) mutable {
          if (!response.ok()) return put(response.status());
          put(std::vector<v1::DeleteGroupResult>(response->results().begin(),
                                                 response->results().end()));
        });
  };
  many->done = [reply = std::move(reply)](
                   absl::StatusOr<std::vector<v1::DeleteGroupResult>>
                       items) mutable {
    if (!items.ok()) return reply(items.status());
    v1::DeleteGroupsResponse response;
    for (auto& item : *items) *response.add_results() = std::move(item);
    reply(std::move(response));
  };
  if (count.ok()) return RouteMany(context, std::move(many));
  deps_.worker->Post([many, count] { many->done(count); });
}

void GroupHandlers::DescribeGroups(
    const api::CallContext& context, v1::DescribeGroupsRequest request,
    PeerReply<v1::DescribeGroupsResponse> reply) {
  auto many = std::make_shared<Many<v1::GroupDescription>>();
  const absl::Status count =
      CheckCount("groups", request.group_ids_size(), kDescribedPerCallMax);
  many->names.assign(request.group_ids().begin(), request.group_ids().end());
  const auto names =
      std::make_shared<const std::vector<std::string>>(many->names);
  many->here = [names](GroupCoordinator& coordinator, size_t i,
                       PeerReply<v1::GroupDescription> put) {
    put(coordinator.DescribeGroup((*names)[i]));
  };
  many->there = [names](GroupPeer& peer, const std::vector<size_t>& indices,
                        int64_t timeout_us,
                        PeerReply<std::vector<v1::GroupDescription>> put) {
    v1::DescribeGroupsRequest part;
    for (const size_t i : indices) part.add_group_ids((*names)[i]);
    peer.DescribeGroups(
        part, timeout_us,
        [put = std::move(put)](
            absl::StatusOr<v1::DescribeGroupsResponse> response) mutable {
          if (!response.ok()) return put(response.status());
          put(std::vector<v1::GroupDescription>(response->groups().begin(),
                                                response->groups().end()));
        });
  };
  many->done = [this, context, lag = request.include_lag(),
                reply = std::move(reply)](
                   absl::StatusOr<std::vector<v1::GroupDescription>>
                       items) mutable {
    if (!items.ok()) return reply(items.status());
    v1::DescribeGroupsResponse response;
    for (auto& item : *items) *response.add_groups() = std::move(item);
    if (!lag) return reply(std::move(response));
    AddLag(deps_.lag, context, std::move(response), std::move(reply));
  };
  if (count.ok()) return RouteMany(context, std::move(many));
  deps_.worker->Post([many, count] { many->done(count); });
}

}  // namespace sluice::coordinator
