#include "controller/broker_sessions.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "controller/controller_testing.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;
using Stream = FakeStream<LivenessResponse>;

class BrokerSessionsTest : public testing::Test {
 protected:
  struct Client {
    int id = 0;
    BrokerEpoch epoch;
    std::string incarnation;
    std::shared_ptr<Stream> stream = std::make_shared<Stream>();
    BrokerSessions::Events events;

    bool closed() const { return stream->closed.has_value(); }
    const LivenessResponse& last() const { return stream->sent.back(); }
  };

  void Activate(int brokers) {
    cluster_.StartAll(brokers);
    sessions_.Activate(cluster_.shared());
  }
  Client Open(int id, int incarnation = 1) {
    Client client;
    client.id = id;
    client.epoch = cluster_.EpochOf(id);
    client.incarnation = TestCluster::Incarnation(id, incarnation);
    client.events = sessions_.Accept(client.stream, absl::OkStatus());
    return client;
  }
  std::vector<Client> OpenAll(int count) {
    std::vector<Client> clients;
    for (int id = 1; id <= count; ++id) clients.push_back(Open(id));
    return clients;
  }
  LivenessRequest Heartbeat(const Client& client) {
    LivenessRequest request;
    request.set_broker_id(client.id);
    request.set_broker_epoch(client.epoch.value());
    request.set_incarnation_id(client.incarnation);
    request.set_applied_metadata_offset(cluster_.image().offset().value());
    return request;
  }
  void Beat(Client& client) { client.events.on_message(Heartbeat(client)); }
  // The stream dies under both ends.
  void Break(Client& client) {
    client.events.on_closed(absl::UnavailableError("broken"));
  }
  void Commit() {
    sessions_.OnCommitted(cluster_.shared(), cluster_.changes());
  }
  void Run(int64_t ms) { world_.RunFor(ms * 1000); }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeDialer dialer_;
  TestCluster cluster_;
  std::vector<std::string> decided_;
  bool stops_are_under_way_ = false;  // proposed, and not committed yet
  BrokerSessions sessions_{
      {executor_.get(), &world_, &dialer_, SessionOptions{}},
      {[this](NodeId id, BrokerEpoch, const std::string&) {
         decided_.push_back(StrCat("fence ", id));
         cluster_.Fence(id.value());
         Commit();
       },
       [this](NodeId id, BrokerEpoch) {
         decided_.push_back(StrCat("unfence ", id));
         cluster_.Unfence(id.value());
         Commit();
       },
       [this](NodeId id, BrokerEpoch) {
         decided_.push_back(StrCat("stop ", id));
         if (stops_are_under_way_) return;
         cluster_.BeginStop(id.value());
         Commit();
       },
       [this](NodeId id, BrokerEpoch epoch, const std::string&) {
         const auto batch = BrokerControl(cluster_.image(), cluster_.configs())
                                .Demote(id, epoch);
         if (batch.records().empty()) return;
         decided_.push_back(StrCat("demote ", id));
         cluster_.Apply(batch);
         Commit();
       },
       [this](NodeId id, BrokerEpoch epoch, const std::string&) {
         decided_.push_back(StrCat("clear ", id));
         cluster_.Apply(BrokerControl(cluster_.image(), cluster_.configs())
                            .ClearDemotion(id, epoch));
         Commit();
       },
       [this](const std::string&) { decided_.push_back("resign"); }}};
};

using Decided = std::vector<std::string>;

// F: a killed process costs a dial, not a session.
TEST_F(BrokerSessionsTest, ABrokenStreamAndARefusedDialFenceAtOnce) {
  Activate(3);
  Run(10);
  Client client = Open(2);
  Beat(client);
  dialer_.answers["b2"] = DialResult::kRefused;
  Break(client);
  Run(5);
  EXPECT_EQ(decided_, Decided{"fence 2"});
}

TEST_F(BrokerSessionsTest, ABrokenStreamOfALivingProcessKeepsItsSession) {
  Activate(3);
  Run(10);
  std::vector<Client> clients = OpenAll(3);
  for (Client& client : clients) Beat(client);
  Break(clients[1]);
  for (int i = 0; i < 20; ++i) {
    Run(100);
    Beat(clients[0]);
    Beat(clients[2]);
  }
  EXPECT_EQ(decided_, Decided{});  // 2 s on
  Client again = Open(2);
  Beat(again);
  EXPECT_FALSE(again.closed());
  for (int i = 0; i < 20; ++i) {
    Run(100);
    Beat(clients[0]);
    Beat(clients[2]);
  }
  EXPECT_EQ(decided_, Decided{});
}

TEST_F(BrokerSessionsTest, ASilentHangCostsOneSession) {
  Activate(3);
  Run(10);
  std::vector<Client> clients = OpenAll(3);
  for (Client& client : clients) Beat(client);
  for (int i = 0; i < 28; ++i) {
    Run(100);
    Beat(clients[0]);
    Beat(clients[2]);
  }
  EXPECT_EQ(decided_, Decided{});
  for (int i = 0; i < 4; ++i) {
    Run(100);
    Beat(clients[0]);
    Beat(clients[2]);
  }
  EXPECT_EQ(decided_, Decided{"fence 2"});
}

// More than half silent at once: the fault is the controller's network, and
// each gets a full session from the moment that this was seen.
TEST_F(BrokerSessionsTest, WhenMostDialsAreUnansweredTheSessionsBeginAnew) {
  Activate(3);
  Run(10);
  std::vector<Client> clients = OpenAll(3);
  for (Client& client : clients) Beat(client);
  for (const char* host : {"b1", "b2", "b3"}) {
    dialer_.answers[host] = DialResult::kNoAnswer;
  }
  for (Client& client : clients) Break(client);
  Run(3900);  // a session since the last word; the dials took one second
  EXPECT_EQ(decided_, Decided{"resign"});
  Run(300);
  EXPECT_EQ(decided_, (Decided{"resign", "fence 1", "fence 2", "fence 3"}));
}

TEST_F(BrokerSessionsTest, OneUnansweredDialOfThreeExtendsNothing) {
  Activate(3);
  Run(10);
  std::vector<Client> clients = OpenAll(3);
  for (Client& client : clients) Beat(client);
  dialer_.answers["b2"] = DialResult::kNoAnswer;
  Break(clients[1]);
  for (int i = 0; i < 31; ++i) {
    Run(100);
    Beat(clients[0]);
    Beat(clients[2]);
  }
  EXPECT_EQ(decided_, Decided{"fence 2"});
}

TEST_F(BrokerSessionsTest, ANewActiveControllerDialsEveryBroker) {
  cluster_.StartAll(3);
  dialer_.answers["b3"] = DialResult::kRefused;
  sessions_.Activate(cluster_.shared());
  Run(5);
  EXPECT_EQ(dialer_.dialed.size(), 3u);
  EXPECT_EQ(decided_, Decided{"fence 3"});
}

// MD5: unfenced once it has applied its own registration.
TEST_F(BrokerSessionsTest, UnfencingWaitsForTheOwnRegistration) {
  sessions_.Activate(cluster_.shared());
  cluster_.Register(TestCluster::Registration(1, 1));
  Commit();
  Client client = Open(1);
  LivenessRequest request = Heartbeat(client);
  request.set_want_unfence(true);
  request.set_applied_metadata_offset(client.epoch.value() - 1);
  client.events.on_message(request);
  EXPECT_EQ(decided_, Decided{});
  EXPECT_TRUE(client.last().fenced());
  request.set_applied_metadata_offset(client.epoch.value());
  client.events.on_message(request);
  EXPECT_EQ(decided_, Decided{"unfence 1"});
  EXPECT_FALSE(client.last().fenced());
}

TEST_F(BrokerSessionsTest, StrangersAreToldToRegister) {
  Activate(1);
  Client older = Open(1, /*incarnation=*/9);
  Beat(older);
  ASSERT_TRUE(older.closed());
  EXPECT_EQ(CodeOf(*older.stream->closed), ErrorCode::kStaleBrokerEpoch);
  EXPECT_EQ(older.last().error().code(), v1::ERROR_CODE_STALE_BROKER_EPOCH);
  Client wrong = Open(1);
  wrong.epoch = BrokerEpoch(999);
  Beat(wrong);
  EXPECT_TRUE(wrong.closed());
}

TEST_F(BrokerSessionsTest, ANewerStreamReplacesAnOlderOfTheSameIncarnation) {
  Activate(1);
  Client first = Open(1);
  Beat(first);
  Client second = Open(1);
  Beat(second);
  EXPECT_TRUE(first.closed());
  EXPECT_FALSE(second.closed());
  Break(first);  // its end is heard late and means nothing
  EXPECT_EQ(sessions_.StateOf(NodeId(1), second.epoch),
            SessionState::kConnected);
}

TEST_F(BrokerSessionsTest, ARegistrationEndsTheStreamOfTheOldIncarnation) {
  Activate(1);
  Client old = Open(1);
  Beat(old);
  cluster_.Register(TestCluster::Registration(1, 2));
  Commit();
  EXPECT_TRUE(old.closed());
  Client fresh = Open(1, 2);
  Beat(fresh);
  EXPECT_FALSE(fresh.closed());
}

TEST_F(BrokerSessionsTest, NotActiveTurnsStreamsAway) {
  const auto stream = std::make_shared<Stream>();
  sessions_.Accept(stream, MakeError(ErrorCode::kNotController, "no"));
  ASSERT_TRUE(stream->closed.has_value());
  EXPECT_EQ(CodeOf(*stream->closed), ErrorCode::kNotController);
}

TEST_F(BrokerSessionsTest, LosingTheRoleClosesStreamsAndFencesNobody) {
  Activate(2);
  Client client = Open(1);
  Beat(client);
  sessions_.Deactivate(MakeError(ErrorCode::kNotController, "deposed"));
  EXPECT_TRUE(client.closed());
  Run(10'000);
  EXPECT_EQ(decided_, Decided{});
}

// MD9: it may stop when it leads nothing and every other broker knows.
TEST_F(BrokerSessionsTest, AStopWaitsUntilTheOthersHaveHeardOfIt) {
  Activate(3);
  cluster_.CreateOn("t", {1, 2, 3});
  Commit();
  std::vector<Client> clients = OpenAll(3);
  for (Client& client : clients) Beat(client);
  LivenessRequest stop = Heartbeat(clients[0]);
  stop.set_want_shutdown(true);
  clients[0].events.on_message(stop);
  ASSERT_EQ(decided_, Decided{"stop 1"});
  EXPECT_FALSE(clients[0].last().may_shutdown());  // the others lag behind
  Beat(clients[1]);
  EXPECT_FALSE(clients[0].last().may_shutdown());
  Beat(clients[2]);
  EXPECT_TRUE(clients[0].last().may_shutdown());
}

// MD9, seed 594940: the yes would come while its unfencing, which elects it, is
// proposed and not committed.
TEST_F(BrokerSessionsTest, AFencedBrokerStopsOnceItsStopIsCommitted) {
  Activate(1);
  cluster_.Fence(1);
  Commit();
  std::vector<Client> clients = OpenAll(1);
  LivenessRequest stop = Heartbeat(clients[0]);
  stop.set_want_shutdown(true);
  stops_are_under_way_ = true;
  clients[0].events.on_message(stop);
  EXPECT_FALSE(clients[0].last().may_shutdown());
  cluster_.BeginStop(1);
  Commit();
  EXPECT_TRUE(clients[0].last().may_shutdown());
}

TEST_F(BrokerSessionsTest, AFenceThatCouldNotBeCarriedOutIsAskedAgain) {
  Activate(2);
  Run(10);
  sessions_.RetryFence(NodeId(2), cluster_.EpochOf(2));
  dialer_.answers["b2"] = DialResult::kRefused;
  Run(1000);
  EXPECT_EQ(decided_, Decided{"fence 2"});
}

TEST_F(BrokerSessionsTest, ADiskThatHangsDemotesItsBrokerUntilItIsFast) {
  Activate(3);
  std::vector<Client> clients = OpenAll(3);
  int64_t oldest_us = 0;  // of broker 1
  const auto beat_for = [&](int64_t ms) {
    for (int64_t t = 0; t < ms; t += 300) {
      for (Client& client : clients) {
        LivenessRequest request = Heartbeat(client);
        request.mutable_syncs()->set_samples(1);
        request.mutable_syncs()->set_mean_us(800);
        if (client.id == 1 && oldest_us > 0) {
          request.mutable_syncs()->clear_samples();
          request.mutable_syncs()->set_oldest_us(oldest_us);
          oldest_us += 300'000;
        }
        client.events.on_message(request);
      }
      Run(300);
    }
  };
  beat_for(3'000);
  EXPECT_FALSE(clients[1].last().probe_disks());
  oldest_us = 1;
  beat_for(5'000);
  EXPECT_EQ(decided_, Decided{"demote 1"});
  EXPECT_TRUE(clients[1].last().probe_disks());
  oldest_us = 0;
  beat_for(20'000);
  EXPECT_EQ(decided_, Decided{"demote 1"});
  beat_for(15'000);
  EXPECT_EQ(decided_, (Decided{"demote 1", "clear 1"}));
  EXPECT_FALSE(clients[1].last().probe_disks());
}

}  // namespace
}  // namespace sluice
