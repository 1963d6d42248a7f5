// Each call of groups once, in the words of one member that comes, commits and
// goes; asked of any broker, which hands it on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/peers/group_peer.h"
#include "test/scenario/scenario.h"
#include "test/sim/group_program.h"

namespace sluice::scenario {

class EveryGroupCall {
 public:
  EveryGroupCall(Scenario* s, Tp t)
      : s_(*s),
        t_(std::move(t)),
        process_(&s->sim(), /*forwards=*/true),
        peer_(process_.groups()->ConnectGroups(
            sim::SimNetwork::PublicEndpointOf(NodeId(1)),
            process_.executor())) {}

  void Make();

 private:
  static constexpr char kGroup[] = "every-call";
  static constexpr int64_t kTimeoutUs = 10'000'000;
  static constexpr int64_t kPatienceMs = 90'000;

  // What a late message keeps is no answer: all fields unset.
  template <class Request, class Response>
  Response Ask(void (GroupPeer::*call)(const Request&, int64_t,
                                       PeerReply<Response>),
               const Request& request) {
    // Shared: it may come when the script is over.
    const auto got = std::make_shared<std::optional<Response>>();
    ((*peer_).*call)(request, kTimeoutUs,
                     [got](absl::StatusOr<Response> answer) {
                       *got = answer.ok() ? *std::move(answer) : Response();
                     });
    s_.Until("an answer of groups", [&] { return got->has_value(); },
             kPatienceMs);
    return **got;
  }
  template <class Request>
  Request Of() const {
    Request request;
    request.set_group_id(kGroup);
    request.set_member_id(member_id_);
    request.set_generation_id(generation_);
    return request;
  }
  void Find();
  void Join();
  void Commit();
  void Look();
  void Leave();

  Scenario& s_;
  const Tp t_;
  sim::GroupProcess process_;
  const std::shared_ptr<GroupPeer> peer_;
  std::string member_id_;
  int32_t generation_ = -1;
};

}  // namespace sluice::scenario
