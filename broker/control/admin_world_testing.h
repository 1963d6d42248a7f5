// A broker's admin calls over controllers that the test plays, and answers that
// come later.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "broker/control/admin_handlers.h"
#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {

template <class Response>
struct Caught {
  int times = 0;
  absl::StatusOr<Response> answer = absl::UnknownError("none");

  PeerReply<Response> Reply() {
    return [this](absl::StatusOr<Response> given) {
      ++times;
      answer = std::move(given);
    };
  }
  ErrorCode code() const { return CodeOf(answer.status()); }
};

// Four brokers; this is the fourth. Controller 1 is active.
class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    cluster_.StartAll(4);
    image_ = cluster_.shared();
  }
  AdminHandlers::Deps Deps() {
    AdminHandlers::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.configs = *ConfigRegistry::Make({});
    deps.node_id = NodeId(4);
    deps.image = [this] { return image_; };
    return deps;
  }
  void Start(AdminHandlers::Deps deps) {
    admin_ = std::make_unique<AdminHandlers>(std::move(deps));
    fake_.StartWithActive(1);
  }
  // This broker hears of what was committed.
  void Publish() {
    image_ = cluster_.shared();
    admin_->OnImage(*image_);
  }

  ControlWorld fake_;
  TestCluster cluster_;
  std::shared_ptr<const MetadataImage> image_;
  api::CallContext context_;
  std::unique_ptr<AdminHandlers> admin_;
};

}  // namespace sluice
