// Records of __consumer_offsets (broker/coordinator/group_log.h), as a log of
// another version, or a damaged one, would have them.
//
// Property: refused, or the same again after another trip; and a group that is
// not refused is one that a core goes on with.
//
// Input: the length of the key in one byte, the key, the value.
#include <cstdint>
#include <string_view>
#include <variant>

#include "broker/coordinator/group_log.h"
#include "broker/group/group_core.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

using coordinator::Change;
using coordinator::DecodeGroup;
using coordinator::DecodeRecord;
using coordinator::EncodeGroup;
using coordinator::EncodeRecord;
using coordinator::LogRecord;

void CheckGroup(std::string_view record) {
  const auto group = DecodeGroup(record);
  if (!group.ok()) return;
  const auto again = DecodeGroup(EncodeGroup(*group));
  INVARIANT(again.ok() && *again == *group, "another group");
  Random random(1);
  group::GroupCore core({"g", {}, &random}, group->image, 1'000'000);
  core.Step(group::Tick{int64_t{1} << 40});
}

void CheckRecord(std::string_view key, std::string_view value) {
  const auto change = DecodeRecord(key, value);
  if (change.ok()) {
    const LogRecord record = EncodeRecord(*change);
    const auto again = DecodeRecord(record.key, record.value);
    INVARIANT(again.ok(), again.status().ToString());
    INVARIANT(EncodeRecord(*again) == record, "another record");
  }
  const auto gone = DecodeRecord(key, std::nullopt);
  INVARIANT(!change.ok() || gone.ok(), "a key that no tombstone may have");
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  const size_t length = static_cast<uint8_t>(bytes[0]);
  const std::string_view rest = bytes.substr(1);
  const std::string_view key = rest.substr(0, length);
  const std::string_view value = rest.substr(key.size());
  sluice::fuzz::CheckGroup(value);
  sluice::fuzz::CheckRecord(key, value);
  return 0;
}
