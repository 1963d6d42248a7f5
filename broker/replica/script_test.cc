// Golden conversations: testdata/*.txt. A line that starts with '>' is a
// command; the lines after it are everything that it made happen. Change a
// file only when you understand why it changed; SLUICE_REWRITE=<folder> writes
// new ones there.
//
// Commands (N, F, L: replicas; F -> L: a follower's stream to a leader):
//   replicas N [min_isr N] [memory]     a partition; lag limit 1 s
//   produce N [records] / produce1 N    acks=all / acks=1
//   deliver A B                         the oldest frame from A to B
//   open F L / break F L                their stream
//   settle / run MS / pass MS / tick N  everything / with time / time only
//   hold N / release N / disk N         its disk: waits, goes on, ends one work
//   marks N                             its marks are written
//   power N [kept] / kill N / restart N / verdict N / wipe N
//   apply N                             the newest metadata
//   fence N / unfence N / prefer N / readd N / unclean N
//   decide / lose / delay               the oldest ISR question: is decided; is
//                                       lost; outcome unknown, but it still comes
//   trim N OFFSET                       retention at a leader
//   show N
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>

#include "broker/replica/replica_testing.h"

namespace sluice::replica {
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
        for (const std::string& what : group_->TakeTrace()) out += what + "\n";
      }
    }
    if (group_->checker().violation().has_value()) {
      out += "VIOLATION " + *group_->checker().violation() + "\n";
    }
    return out;
  }

 private:
  using Words = std::istringstream;

  static int Number(Words& words, int otherwise = 0) {
    int n = otherwise;
    words >> n;
    return words.fail() ? otherwise : n;
  }

  void Do(const std::string& command) {
    Words words(command);
    std::string verb;
    words >> verb;
    if (verb == "replicas") return Begin(words);
    const auto& verbs = Verbs();
    const auto found = verbs.find(verb);
    if (found == verbs.end()) {
      ADD_FAILURE() << "unknown command:" << command;
      return;
    }
    found->second(*group_, words);
  }

  void Begin(Words& words) {
    GroupOptions options{.replicas = Number(words)};
    std::string word;
    while (words >> word) {
      if (word == "min_isr") options.min_isr = Number(words);
      if (word == "memory") options.durable = false;
    }
    group_ = std::make_unique<ReplicaGroup>(options);
    group_->TraceOn();
  }

  static void Show(ReplicaGroup& group, int n) {
    if (!group.up(n)) return group.Note(StrCat(n, " is down"));
    const ReplicaCore& core = group.core(n);
    std::string isr;
    for (const NodeId member : core.maximal_isr()) isr += StrCat(" ", member);
    group.Note(StrCat(n, " is ", NameOf(core.state()), ", epoch ",
                      core.leader_epoch(), ", log [", core.log_start(), ", ",
                      core.leo(), ") durable ", core.durable_leo(), " HW ",
                      core.high_watermark(), ", last epoch ",
                      core.epochs().last_epoch(),
                      isr.empty() ? "" : ", counts" + isr));
  }

  static void Produce(ReplicaGroup& group, int n, int records, bool all) {
    if (!group.Produce(n, records, all)) {
      group.Note(StrCat("refused: ",
                        NameOf(CodeOf(group.core(n).CheckProduce(all)))));
    }
  }

  using Verb = std::function<void(ReplicaGroup&, Words&)>;
  static const std::map<std::string, Verb>& Verbs() {
    using G = ReplicaGroup;
    static const auto* verbs = new std::map<std::string, Verb>{
        {"produce",
         [](G& g, Words& w) {
           const int n = Number(w);
           Produce(g, n, Number(w, 1), true);
         }},
        {"produce1", [](G& g, Words& w) { Produce(g, Number(w), 1, false); }},
        {"deliver",
         [](G& g, Words& w) {
           const int from = Number(w);
           if (!g.Deliver(from, Number(w))) g.Note("nothing is under way");
         }},
        {"open",
         [](G& g, Words& w) {
           const int from = Number(w);
           g.OpenLink(from, Number(w));
         }},
        {"break",
         [](G& g, Words& w) {
           const int from = Number(w);
           const int to = Number(w);
           g.BreakLink(from, to);
           g.node(from).wants_link = kNoNode;
         }},
        {"settle", [](G& g, Words&) { g.Settle(); }},
        {"run", [](G& g, Words& w) { g.Run(Number(w) * 1000); }},
        {"pass", [](G& g, Words& w) { g.Pass(Number(w) * 1000); }},
        {"tick", [](G& g, Words& w) { g.Tick(Number(w)); }},
        {"hold", [](G& g, Words& w) { g.node(Number(w)).hold_disk = true; }},
        {"release",
         [](G& g, Words& w) {
           const int n = Number(w);
           g.node(n).hold_disk = false;
           while (!g.node(n).disk.empty()) g.CompleteDisk(n);
         }},
        {"disk", [](G& g, Words& w) { g.CompleteDisk(Number(w)); }},
        {"marks", [](G& g, Words& w) { g.SaveMarks(Number(w)); }},
        {"power",
         [](G& g, Words& w) {
           const int n = Number(w);
           g.PowerCut(n, Number(w));
         }},
        {"kill", [](G& g, Words& w) { g.Kill(Number(w)); }},
        {"restart", [](G& g, Words& w) { g.Restart(Number(w)); }},
        {"verdict", [](G& g, Words& w) { g.ReportVerdict(Number(w)); }},
        {"wipe", [](G& g, Words& w) { g.Wipe(Number(w)); }},
        {"apply",
         [](G& g, Words& w) { g.Apply(Number(w), g.controller().version()); }},
        {"fence",
         [](G& g, Words& w) { g.controller().Fence(NodeId(Number(w))); }},
        {"unfence",
         [](G& g, Words& w) { g.controller().Unfence(NodeId(Number(w))); }},
        {"prefer",
         [](G& g, Words& w) { g.controller().Prefer(NodeId(Number(w))); }},
        {"readd",
         [](G& g, Words& w) {
           g.controller().RemoveAndAddAgain(NodeId(Number(w)));
         }},
        {"unclean", [](G& g, Words& w) { g.ElectUnclean(Number(w)); }},
        {"decide", [](G& g, Words&) { g.Decide(0); }},
        {"lose", [](G& g, Words&) { g.GiveUp(0, true); }},
        {"delay", [](G& g, Words&) { g.GiveUp(0, false); }},
        {"trim",
         [](G& g, Words& w) {
           const int n = Number(w);
           g.Trim(n, Offset(Number(w)));
         }},
        {"show", [](G& g, Words& w) { Show(g, Number(w)); }},
    };
    return *verbs;
  }

  std::unique_ptr<ReplicaGroup> group_;
};

TEST(ReplicaScriptTest, ConversationsAreAsWritten) {
  int scripts = 0;
  for (const auto& file :
       stdfs::directory_iterator("broker/replica/testdata")) {
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
  EXPECT_GE(scripts, 9);
}

}  // namespace
}  // namespace sluice::replica
