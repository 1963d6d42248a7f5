// Whole commands in a test: a command line in, what is printed and the exit
// code out, against brokers in memory.
#pragma once

#include <gtest/gtest.h>

#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "common/env/real_clock.h"
#include "tools/canned_broker_testing.h"
#include "tools/canned_groups_testing.h"
#include "tools/cli_app.h"

namespace sluice::cli {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

// std::cin, std::cout and std::cerr become strings for as long as it lives.
class Redirected {
 public:
  explicit Redirected(const std::string& input)
      : in_(input),
        old_in_(std::cin.rdbuf(in_.rdbuf())),
        old_out_(std::cout.rdbuf(out_.rdbuf())),
        old_err_(std::cerr.rdbuf(err_.rdbuf())) {
    std::cin.clear();
  }
  ~Redirected() {
    std::cin.rdbuf(old_in_);
    std::cout.rdbuf(old_out_);
    std::cerr.rdbuf(old_err_);
  }
  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }

 private:
  std::istringstream in_;
  std::ostringstream out_;
  std::ostringstream err_;
  std::streambuf* const old_in_;
  std::streambuf* const old_out_;
  std::streambuf* const old_err_;
};

class CliTest : public testing::Test {
 protected:
  CliTest()
      : brokers_(&world_, 3),
        canned_(&brokers_),
        groups_(&clock_, &brokers_),
        canned_groups_(&groups_) {
    unsetenv("SLUICE_BOOTSTRAP");
    groups_.config.initial_rebalance_delay_us = 1'000;
  }

  // The brokers are b1:9001 to b3:9003.
  Ran Run(std::vector<std::string> arguments, const std::string& input = "") {
    std::vector<const char*> argv = {"sluice"};
    for (const std::string& argument : arguments) {
      argv.push_back(argument.c_str());
    }
    Redirected streams(input);
    Ran ran;
    ran.code = RunCli(static_cast<int>(argv.size()), argv.data(),
                      [this] { return canned_.Connector(); },
                      [this] { return canned_groups_.Connector(); });
    ran.out = streams.out();
    ran.err = streams.err();
    return ran;
  }
  Ran RunThere(std::vector<std::string> arguments,
               const std::string& input = "") {
    arguments.insert(arguments.begin(), {"--bootstrap", "b1:9001"});
    return Run(std::move(arguments), input);
  }

  SimWorld world_;
  FakeCluster brokers_;
  CannedBroker canned_;
  RealClock clock_;
  FakeGroups groups_;
  CannedGroups canned_groups_;
};

}  // namespace sluice::cli
