// BootstrapCore::Step and the codec of its record, with what any peer may send
// before there is a cluster (controller/raft/bootstrap_core.h).
//
// Property: nothing breaks an INVARIANT. A node accepts one record, only while
// it is empty, starts its cluster once, with that record and only after it is
// durable, and never changes it. Bytes that decode as a record encode as the
// same one.
//
// Input: the node, then steps: ticks, completed writes, messages with a
// crafted or a raw record.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "controller/raft/bootstrap_core.h"
#include "controller/raft_driver/bootstrap_codec.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

using raft::BootstrapActions;
using raft::BootstrapConfig;
using raft::BootstrapRecord;
using raft::BootstrapVoter;
using raft::Message;
using raft::MessageType;
using raft::VoterId;

constexpr int kStepsMax = 200;

VoterId Voter(int n, uint64_t disk = 1) {
  return {NodeId(n), DirectoryId(Uuid(static_cast<uint64_t>(n), disk))};
}

BootstrapVoter Named(int n, uint64_t disk) {
  const DirectoryId directory =
      disk == 0 ? DirectoryId() : Voter(n, disk).directory;
  return {NodeId(n), directory, "host:1"};
}

std::optional<BootstrapRecord> DecodeChecked(std::string_view bytes) {
  const auto record = DecodeBootstrapRecord(bytes);
  if (!record.ok()) {
    INVARIANT(CodeOf(record.status()) == ErrorCode::kInvalidRequest,
              "not promised: ", record.status().ToString());
    return std::nullopt;
  }
  const auto again = DecodeBootstrapRecord(EncodeBootstrapRecord(*record));
  INVARIANT(again.ok() && *again == *record, "a record does not come back: ",
            again.status().ToString());
  return *record;
}

class EmptyNode {
 public:
  EmptyNode(int self, int initial)
      : random_(1), core_(Config(self, initial), std::nullopt, random_) {
    Do(core_.Start());
  }

  void Step(FuzzInput& in) {
    switch (in.Below(6)) {
      case 0: return Do(core_.Tick());
      case 1:
        if (writing_.has_value()) {
          durable_ = *std::exchange(writing_, std::nullopt);
          Do(core_.Persisted());
        }
        return;
      case 2: return core_.Heard(Voter(1 + in.Below(5), 1 + in.Below(2)));
      default: return Do(core_.Step(Craft(in)));
    }
  }

 private:
  static BootstrapConfig Config(int self, int initial) {
    BootstrapConfig config;
    config.self = Voter(self);
    for (int n = 1; n <= initial; ++n) config.initial.push_back(Named(n, 0));
    config.retry_ticks = 2;
    return config;
  }

  Message Craft(FuzzInput& in) {
    Message m;
    m.type = static_cast<MessageType>(18 + in.Below(7));
    m.from = Voter(in.Below(6), 1 + in.Below(2));
    m.reject = in.Below(4) == 0;
    if (in.Below(4) == 0) m.cluster_id = ClusterId(Uuid(5, in.Below(3)));
    switch (in.Below(3)) {
      case 0: break;
      case 1: m.bootstrap = DecodeChecked(in.Piece()); break;
      default: {
        BootstrapRecord record;
        record.cluster_id = ClusterId(Uuid(5, in.Below(3)));
        record.salt = Uuid(6, 6);
        for (int i = in.Below(6); i > 0; --i) {
          record.voters.push_back(Named(1 + in.Below(5), in.Below(3)));
        }
        m.bootstrap = std::move(record);
      }
    }
    return m;
  }

  void Do(const BootstrapActions& actions) {
    if (actions.persist.has_value()) {
      INVARIANT(!writing_.has_value() && !durable_.has_value(),
                "accepts a second record");
      INVARIANT(actions.persist->cluster_id.is_set(),
                "accepts a record without a cluster");
      writing_ = actions.persist;
    }
    if (actions.done.has_value()) {
      INVARIANT(!started_ && durable_ == actions.done,
                "starts a cluster twice, or one that is not durable");
      started_ = true;
    }
    INVARIANT(core_.done() == started_, "done without a cluster");
    INVARIANT(!durable_.has_value() || core_.record() == durable_,
              "its record changed");
    for (const Message& message : actions.messages) {
      INVARIANT(started_ || !message.cluster_id.is_set(),
                "tells of a cluster that may yet be lost");
    }
  }

  Random random_;
  raft::BootstrapCore core_;
  std::optional<BootstrapRecord> writing_;
  std::optional<BootstrapRecord> durable_;
  bool started_ = false;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  const int self = 1 + input.Below(4);
  sluice::fuzz::EmptyNode node(self, 1 + input.Below(3));
  for (int i = 0; i < sluice::fuzz::kStepsMax && !input.empty(); ++i) {
    node.Step(input);
  }
  return 0;
}
