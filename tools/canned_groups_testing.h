// Groups in memory whose administrator's answers a test can write by hand; the
// rest, members above all, is the fake groups'.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "client/group/fake_groups_testing.h"

namespace sluice::cli {

class CannedGroups {
 public:
  explicit CannedGroups(FakeGroups* groups) : groups_(groups) {}

  std::unique_ptr<GroupConnector> Connector();

  v1::ListGroupsResponse list;
  v1::DescribeGroupsResponse described;
  std::deque<v1::DescribeGroupsResponse> described_first;  // then `described`
  v1::DeleteGroupsResponse deleted;
  v1::DeleteOffsetsResponse offsets_deleted;
  // Unset: as the fake groups answer.
  std::optional<v1::CommitOffsetsResponse> committed;
  // What was asked last.
  v1::ListGroupsRequest last_list;
  v1::DescribeGroupsRequest last_describe;
  v1::DeleteGroupsRequest last_delete;
  v1::DeleteOffsetsRequest last_delete_offsets;
  v1::CommitOffsetsRequest last_commit;
  int commits = 0;
  int deletes = 0;

 private:
  FakeGroups* const groups_;
};

}  // namespace sluice::cli
