// Golden conversations: testdata/*.txt. A line that starts with '>' is a
// command; the lines after it are everything that it made happen. Change a
// file only when you understand why it changed; SLUICE_REWRITE=<folder> writes
// new ones there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

namespace stdfs = std::filesystem;

class Script {
 public:
  std::string Run(const std::string& text) {
    std::istringstream in(text);
    std::string line;
    std::string out;
    while (std::getline(in, line)) {
      if (line.empty() || line[0] == '#') {
        out += line + "\n";
      } else if (line[0] == '>') {
        out += line + "\n";
        Do(line.substr(1));
        for (const std::string& what : group_->TakeTrace()) {
          out += what + "\n";
        }
      }
    }
    if (group_->checker().violation().has_value()) {
      out += "VIOLATION " + *group_->checker().violation() + "\n";
    }
    return out;
  }

 private:
  using Words = std::istringstream;

  void Do(const std::string& command) {
    Words words(command);
    std::string verb;
    words >> verb;
    int a = 0;
    int b = 0;
    if (verb == "nodes") {
      words >> a;
      group_ = std::make_unique<RaftGroup>(a, 1);
    } else if (verb == "campaign") {
      words >> a;
      group_->Campaign(a);
    } else if (verb == "elect") {
      words >> a;
      group_->Elect(a);
      group_->TakeTrace();  // told elsewhere
    } else if (verb == "tick") {
      words >> a >> b;
      for (int i = 0; i < b; ++i) group_->Tick(a);
    } else if (verb == "propose") {
      std::string payload;
      words >> a >> payload;
      (void)group_->Propose(a, payload);
    } else if (verb == "read") {
      words >> a >> b;
      (void)group_->Read(a, static_cast<uint64_t>(b));
    } else if (verb == "deliver" || verb == "drop") {
      words >> a >> b;
      Pick(verb, a, b);
    } else if (verb == "settle") {
      group_->DeliverAll();
    } else if (verb == "hold") {
      words >> a;
      group_->node(a).hold_writes = true;
    } else if (verb == "write") {
      words >> a;
      group_->CompleteWrite(a);
    } else if (verb == "crash") {
      words >> a >> b;
      group_->Crash(a, static_cast<size_t>(b));
      group_->node(a).hold_writes = false;
    } else if (verb == "restart") {
      words >> a;
      group_->Restart(a);
    } else if (verb == "wipe") {
      words >> a;
      group_->Wipe(a);
    } else if (verb == "isolate") {
      words >> a;
      group_->Isolate(a);
    } else if (verb == "heal") {
      group_->Heal();
    } else if (verb == "broken") {
      words >> a >> b;
      group_->LinkBroken(a, b);
    } else if (verb == "transfer") {
      words >> a;
      (void)group_->Transfer(a);
    } else {
      ADD_FAILURE() << "unknown command:" << command;
    }
  }

  // The oldest message from a to b.
  void Pick(const std::string& verb, int a, int b) {
    auto& network = group_->network();
    for (size_t i = 0; i < network.size(); ++i) {
      if (network[i].from.node != NodeId(a) ||
          network[i].to.node != NodeId(b)) {
        continue;
      }
      if (verb == "deliver") return group_->DeliverAt(i);
      network.erase(network.begin() + static_cast<int64_t>(i));
      return;
    }
    ADD_FAILURE() << "nothing under way from " << a << " to " << b;
  }

  std::unique_ptr<RaftGroup> group_;
};

TEST(RaftScriptTest, ConversationsAreAsWritten) {
  int scripts = 0;
  for (const auto& file :
       stdfs::directory_iterator("controller/raft/testdata")) {
    std::ifstream in(file.path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const std::string got = Script().Run(text);
    if (const char* to = std::getenv("SLUICE_REWRITE"); to != nullptr) {
      std::ofstream(stdfs::path(to) / file.path().filename()) << got;
    } else {
      EXPECT_EQ(got, text) << file.path();
    }
    ++scripts;
  }
  EXPECT_GE(scripts, 6);
}

}  // namespace
}  // namespace sluice::raft
