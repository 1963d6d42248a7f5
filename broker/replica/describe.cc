#include "broker/replica/replica_testing.h"

namespace sluice::replica {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::string Members(const std::map<NodeId, BrokerEpoch>& isr) {
  std::string text;
  for (const auto& [broker, epoch] : isr) {
    text += StrCat(text.empty() ? "" : " ", broker);
  }
  return StrCat("{", text, "}");
}

std::string Say(const Action& action) {
  return std::visit(
      Overloaded{
          [](const PersistEpochStart& a) {
            return StrCat("persists the start of epoch ", a.epoch);
          },
          [](const AppendData&) { return std::string("appends"); },
          [](const TruncateTo& a) {
            return StrCat("cuts to ", a.target, ": ", a.why);
          },
          [](const ResetTo& a) { return StrCat("begins anew at ", a.start); },
          [](const AdvanceLogStart& a) {
            return StrCat("log start ", a.log_start);
          },
          [](const Failed& a) { return StrCat("FAILED: ", a.why); },
          [](const SendAdd& a) {
            return StrCat("adds to ", a.leader, ": epoch ", a.leader_epoch,
                          " from ", a.fetch_offset, " last ",
                          a.last_fetched_epoch);
          },
          [](const SendAck& a) {
            return StrCat("acks to ", a.leader, ": epoch ", a.leader_epoch,
                          " appended ", a.appended, " durable ", a.durable);
          },
          [](const AcceptFollower& a) {
            return StrCat("accepts ", a.broker, " from ", a.from);
          },
          [](const DivergeFollower& a) {
            return StrCat("diverges ", a.broker, ": epoch ", a.end.epoch,
                          " ends at ", a.end.end);
          },
          [](const RejectFollower& a) {
            return StrCat("rejects ", a.broker, ": ", NameOf(a.code), ": ",
                          a.message);
          },
          [](const DropFollower& a) { return StrCat("drops ", a.broker); },
          [](const ProposeIsr& a) {
            return StrCat("proposes ISR ", Members(a.isr), " at epoch ",
                          a.leader_epoch, "/", a.partition_epoch,
                          a.settled ? ", durability settled" : "");
          },
          [](const HighWatermarkMoved& a) {
            return StrCat("HW ", a.high_watermark);
          },
          [](const BecameLeader&) { return std::string("leads"); },
          [](const LostLeadership&) { return std::string("leads no more"); },
      },
      action);
}

}  // namespace

std::string Describe(NodeId self, const Action& action) {
  return StrCat(self, " ", Say(action));
}

}  // namespace sluice::replica
