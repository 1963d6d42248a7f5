#include "controller/raft_metadata_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

// The log's listener, with the node's events called by hand.
class RaftMetadataLogTest : public testing::Test {
 protected:
  RaftMetadataLogTest()
      : log_(nullptr, NodeId(1)),
        node_(log_.Events([](const absl::Status&) {})) {
    log_.Start({[](CommittedEntry) {},
                [this](MetadataLogRole role) { roles_.push_back(role); }});
  }

  void Soft(raft::Role role, int64_t term, int leader) {
    node_.on_soft_state({role, Term(term),
                         raft::VoterId{NodeId(leader), DirectoryId{Uuid{1, 1}}}});
  }

  RaftMetadataLog log_;
  RaftNodeEvents node_;
  std::vector<MetadataLogRole> roles_;
};

// RA2, seed 5963: a sole controller campaigned up to term 10 on a slow disk and
// told of it, then lost its power and came back in term 6.
TEST_F(RaftMetadataLogTest, ATermIsForOthersOnceItIsDurable) {
  node_.on_durable_term(Term(5));
  Soft(raft::Role::kFollower, 7, 2);
  ASSERT_FALSE(roles_.empty());
  EXPECT_EQ(roles_.back().term, Term(7));
  EXPECT_EQ(roles_.back().durable_term, Term(5));
  EXPECT_EQ(roles_.back().DurableLeader(), kNoNode);  // 2 leads another term

  node_.on_durable_term(Term(7));
  EXPECT_EQ(roles_.back().durable_term, Term(7));
  EXPECT_EQ(roles_.back().DurableLeader(), NodeId(2));
}

TEST_F(RaftMetadataLogTest, ACommittedEntrysTermIsDurable) {
  node_.on_durable_term(Term(5));
  Soft(raft::Role::kFollower, 7, 2);
  raft::Entry entry;
  entry.term = Term(7);
  entry.index = LogIndex(3);
  entry.type = raft::EntryType::kNoOp;
  node_.apply(entry);
  EXPECT_EQ(roles_.back().durable_term, Term(7));
}

}  // namespace
}  // namespace sluice
