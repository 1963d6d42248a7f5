// How large a group's record would be: it is one record, whole each time.
#include "broker/group/group_core.h"
#include "common/base/str_cat.h"

namespace sluice::group {
namespace {

// Of a member and of a protocol, without texts: numbers, tags, lengths.
constexpr int64_t kMemberBytesAbout = 64;
constexpr int64_t kProtocolBytesAbout = 16;

int64_t BytesOf(const std::vector<Protocol>& protocols) {
  int64_t bytes = 0;
  for (const Protocol& p : protocols) {
    bytes += kProtocolBytesAbout +
             static_cast<int64_t>(p.name.size() + p.metadata.size());
  }
  return bytes;
}

int64_t BytesOf(const MemberImage& m) {
  return kMemberBytesAbout + BytesOf(m.protocols) +
         static_cast<int64_t>(m.id.ToString().size() + m.instance.ToString().size() +
                              m.client_id.size() + m.client_host.size() +
                              m.join_reason.size() + m.stream.ToString().size());
}

int64_t BytesOf(const Join& e) {
  constexpr int64_t kUuidBytes = 36;  // of an id that it is about to get
  const size_t named = e.instance.empty() ? e.client_id.size()
                                          : e.instance.ToString().size();
  return kMemberBytesAbout + kUuidBytes + BytesOf(e.protocols) +
         static_cast<int64_t>(named + e.instance.ToString().size() +
                              e.client_id.size() + e.client_host.size() +
                              e.reason.size() + e.stream.ToString().size());
}

}  // namespace

// In place of what that member said before.
int64_t GroupCore::MembersBytesWith(const Join& e) const {
  MemberId before = e.member;
  if (const auto known = instances_.find(e.instance);
      known != instances_.end()) {
    before = known->second;
  }
  int64_t bytes = BytesOf(e);
  for (const auto& [id, member] : members_) {
    if (id != before) bytes += BytesOf(member.image);
  }
  return bytes;
}

// To members: what is for others is not kept.
int64_t GroupCore::AssignedBytes(const Sync& e) const {
  int64_t bytes = 0;
  for (const MemberAssignment& given : e.assignments) {
    if (!HasMember(given.member)) continue;
    bytes += static_cast<int64_t>(given.assignment.size());
  }
  return bytes;
}

std::string GroupCore::WhyTooLarge(const Join& e) const {
  return StrCat("with this one the group's members say ", MembersBytesWith(e),
                " bytes of themselves, the most is ",
                deps_.config.members_bytes_max,
                "; use fewer members, or fewer topics and less user data each");
}

std::string GroupCore::WhyTooLarge(const Sync& e) const {
  return StrCat("assignments of ", AssignedBytes(e), " bytes, the most is ",
                deps_.config.assignments_bytes_max,
                "; use fewer partitions and members in one group, or less user "
                "data");
}

}  // namespace sluice::group
