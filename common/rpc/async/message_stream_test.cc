#include "common/rpc/async/message_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/env/sim_world.h"

namespace sluice::rpc {
namespace {

using Stream = MessageStream<int, int>;

// A wire that does what a test tells it, and checks what it is asked to do.
class FakeTransport final : public StreamTransport<int> {
 public:
  explicit FakeTransport(bool is_server) : is_server_(is_server) {}

  void StartRead() override {
    Check();
    EXPECT_FALSE(reading) << "two reads at once";
    reading = true;
  }
  void StartWrite(int message) override {
    Check();
    EXPECT_FALSE(writing.has_value()) << "two writes at once";
    writing = message;
  }
  void StartFinish(const absl::Status& status) override {
    Check();
    EXPECT_FALSE(writing.has_value()) << "finished over a write";
    if (!is_server_) {
      EXPECT_FALSE(reading) << "finished over a read";
    }
    finish = status;
  }
  void Cancel() override {
    Check();
    EXPECT_FALSE(is_server_);
    EXPECT_FALSE(cancelled) << "cancelled twice";
    cancelled = true;
  }

  bool reading = false;
  std::optional<int> writing;
  std::optional<absl::Status> finish;
  bool cancelled = false;

 private:
  void Check() { EXPECT_FALSE(finish.has_value()) << "started after finish"; }

  const bool is_server_;
};

class MessageStreamTest : public testing::Test {
 protected:
  void Make(bool is_server, size_t queued_bytes_max = 1000) {
    Stream::Options options;
    options.executor = executor_.get();
    options.state = {.is_server = is_server, .undelivered_max = 2};
    options.queued_bytes_max = queued_bytes_max;
    stream_ = std::make_shared<Stream>(options);
    wire_ = std::make_shared<FakeTransport>(is_server);
  }
  MessageEvents<int> Events() {
    MessageEvents<int> events;
    events.on_open = [this] { log_.push_back("open"); };
    events.on_message = [this](int m) {
      log_.push_back(StrCat("got ", m));
      if (m == close_on_) stream_->Close(absl::AbortedError("enough"));
    };
    events.on_drained = [this] { log_.push_back("drained"); };
    events.on_closed = [this](absl::Status why) {
      log_.push_back(StrCat("closed ", std::string(why.message())));
      ++closed_;
    };
    return events;
  }
  void Begin(bool is_server) {
    Make(is_server);
    stream_->Attach(Events());
    stream_->Start(wire_);
  }
  void Read(int message) {
    ASSERT_TRUE(wire_->reading);
    wire_->reading = false;
    stream_->OnRead(message);
  }
  void ReadEnds() {
    ASSERT_TRUE(wire_->reading);
    wire_->reading = false;
    stream_->OnReadEnd();
  }
  void Written(bool ok = true) {
    ASSERT_TRUE(wire_->writing.has_value());
    wire_->writing.reset();
    stream_->OnWritten(ok);
  }
  void Run() { world_.RunFor(1000); }

  using Log = std::vector<std::string>;
  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<FakeTransport> wire_;
  Log log_;
  int closed_ = 0;
  int close_on_ = -1;
};

TEST_F(MessageStreamTest, NothingIsReadBeforeAnOwnerAttaches) {
  Make(/*is_server=*/true);
  stream_->Start(wire_);
  EXPECT_FALSE(wire_->reading);

  stream_->AttachAndDrive(Events());

  EXPECT_TRUE(wire_->reading);
}

TEST_F(MessageStreamTest, MessagesComeInOrderAndReadingStopsAtTheLimit) {
  Begin(/*is_server=*/true);

  Read(1);
  Read(2);
  EXPECT_FALSE(wire_->reading) << "two wait to be handled";
  Run();

  EXPECT_EQ(log_, (Log{"got 1", "got 2"}));
  EXPECT_TRUE(wire_->reading);
}

TEST_F(MessageStreamTest, WritesGoOneByOneAndTheLastOneDrains) {
  Begin(/*is_server=*/true);

  EXPECT_TRUE(stream_->Send(1, 10));
  EXPECT_TRUE(stream_->Send(2, 10));
  EXPECT_EQ(wire_->writing, 1);
  Written();
  EXPECT_EQ(wire_->writing, 2);
  Run();
  EXPECT_EQ(log_, Log{});
  Written();
  Run();

  EXPECT_EQ(log_, Log{"drained"});
}

TEST_F(MessageStreamTest, AFullQueueRefusesAndALoneMessageAlwaysFits) {
  Begin(/*is_server=*/true);

  EXPECT_TRUE(stream_->Send(1, 5000));
  EXPECT_FALSE(stream_->Send(2, 1));
  Written();
  EXPECT_TRUE(stream_->Send(3, 600));
  EXPECT_TRUE(stream_->Send(4, 400));
  EXPECT_FALSE(stream_->Send(5, 1));
}

TEST_F(MessageStreamTest, AServerWritesWhatWasSentAndThenItsStatus) {
  Begin(/*is_server=*/true);
  stream_->Send(1, 1);
  stream_->Send(2, 1);

  stream_->Close(absl::AbortedError("stale"));
  Written();
  EXPECT_FALSE(wire_->finish.has_value());
  Written();

  ASSERT_TRUE(wire_->finish.has_value());
  EXPECT_EQ(*wire_->finish, absl::AbortedError("stale"));
  stream_->OnDone(absl::OkStatus());
  Run();
  EXPECT_EQ(log_, Log{}) << "who closes is not told";
}

TEST_F(MessageStreamTest, AClientThatClosesCancelsAndHearsNoMore) {
  Begin(/*is_server=*/false);
  Read(1);

  stream_->Close(absl::AbortedError("enough"));
  EXPECT_TRUE(wire_->cancelled);
  EXPECT_FALSE(wire_->finish.has_value()) << "a read is under way";
  ReadEnds();
  ASSERT_TRUE(wire_->finish.has_value());
  stream_->OnDone(absl::CancelledError(""));
  Run();

  EXPECT_EQ(log_, Log{});
}

TEST_F(MessageStreamTest, ClosingWithinAMessageIsTheLastEvent) {
  Begin(/*is_server=*/true);
  close_on_ = 1;
  Read(1);
  Read(2);
  Run();
  EXPECT_EQ(log_, Log{"got 1"});
  ASSERT_TRUE(wire_->finish.has_value());
}

TEST_F(MessageStreamTest, AnEventThatIsQueuedDoesNotRunAfterClose) {
  Begin(/*is_server=*/true);
  stream_->Send(1, 1);
  Written();  // "drained" waits its turn

  stream_->Close(absl::AbortedError("enough"));
  Run();

  EXPECT_EQ(log_, Log{});
}

TEST_F(MessageStreamTest, ClosingWhatIsOverDoesNothing) {
  Begin(/*is_server=*/false);
  ReadEnds();
  stream_->OnDone(absl::AbortedError("refused"));
  Run();
  EXPECT_EQ(log_, Log{"closed refused"});

  stream_->Close(absl::AbortedError("late"));

  EXPECT_FALSE(world_.Step()) << "its executor may be gone";
}

TEST_F(MessageStreamTest, WhatAServerSaidBeforeItsStatusIsHeard) {
  Begin(/*is_server=*/false);
  stream_->Send(7, 1);
  Written(/*ok=*/false);  // it had finished already
  stream_->Send(8, 1);
  EXPECT_FALSE(wire_->writing.has_value());
  Read(1);
  ReadEnds();
  ASSERT_TRUE(wire_->finish.has_value());
  stream_->OnDone(absl::AbortedError("refused"));
  Run();
  EXPECT_EQ(log_, (Log{"got 1", "closed refused"}));
}

TEST_F(MessageStreamTest, AHalfClosedStreamEndsWellAndABrokenOneDoesNot) {
  Begin(/*is_server=*/true);
  ReadEnds();
  EXPECT_EQ(*wire_->finish, absl::OkStatus());
  stream_->OnDone(absl::OkStatus());
  Run();
  EXPECT_EQ(log_, Log{"closed "});

  log_.clear();
  Begin(/*is_server=*/true);
  stream_->Send(1, 1);
  stream_->Send(2, 1);
  stream_->OnBroken();
  EXPECT_FALSE(wire_->finish.has_value()) << "a write is under way";
  Written(/*ok=*/false);
  ASSERT_TRUE(wire_->finish.has_value());
  stream_->OnDone(absl::OkStatus());
  Run();
  EXPECT_EQ(log_, Log{"closed the other end is gone"});
}

TEST_F(MessageStreamTest, AHalfClosedStreamEndsAfterItsLastMessageWasHandled) {
  Begin(/*is_server=*/true);
  Read(1);
  ReadEnds();
  EXPECT_FALSE(wire_->finish.has_value()) << "1 waits to be handled";
  Run();
  EXPECT_EQ(log_, Log{"got 1"});
  EXPECT_EQ(*wire_->finish, absl::OkStatus());

  // And ends as its owner says.
  log_.clear();
  close_on_ = 2;
  Begin(/*is_server=*/true);
  Read(2);
  ReadEnds();
  EXPECT_FALSE(wire_->finish.has_value()) << "2 waits to be handled";
  Run();
  ASSERT_TRUE(wire_->finish.has_value());
  EXPECT_FALSE(wire_->finish->ok());
}

TEST_F(MessageStreamTest, BadBytesEndTheStreamAtBothEnds) {
  Begin(/*is_server=*/true);
  wire_->reading = false;
  stream_->OnBadRead(absl::InvalidArgumentError("topic id of 3 bytes"));
  ASSERT_TRUE(wire_->finish.has_value());
  EXPECT_EQ(wire_->finish->message(), "topic id of 3 bytes");
  stream_->OnDone(absl::OkStatus());
  Run();
  EXPECT_EQ(log_, Log{"closed topic id of 3 bytes"});
}

TEST_F(MessageStreamTest, AStreamThatNeverStartedIsReportedClosed) {
  Make(/*is_server=*/false);
  stream_->Attach(Events());
  stream_->OnDone(absl::UnavailableError("shutting down"));
  Run();
  EXPECT_EQ(log_, Log{"closed shutting down"});
}

TEST_F(MessageStreamTest, TheTransportIsLetGoOfAtTheEnd) {
  Begin(/*is_server=*/true);
  stream_->Close(absl::AbortedError("stale"));
  stream_->OnDone(absl::OkStatus());
  EXPECT_EQ(wire_.use_count(), 1);
}

// Every order of completions, sends and closes: the wire checks that it is
// never asked for the impossible; here, that the owner hears all of it, once.
class AnyOrder {
 public:
  AnyOrder(bool is_server, uint64_t seed)
      : is_server_(is_server),
        random_(seed),
        executor_(world_.NewExecutor()),
        wire_(std::make_shared<FakeTransport>(is_server)) {
    Stream::Options options;
    options.executor = executor_.get();
    options.state = {.is_server = is_server, .undelivered_max = 3};
    stream_ = std::make_shared<Stream>(options);
    MessageEvents<int> events;
    events.on_message = [this](int m) {
      EXPECT_FALSE(quiet_);
      EXPECT_EQ(m, ++heard_) << "out of order";
    };
    events.on_closed = [this](absl::Status) {
      EXPECT_FALSE(quiet_) << "told twice, or after it closed itself";
      quiet_ = told_ = true;
    };
    stream_->Attach(std::move(events));
    stream_->Start(wire_);
  }

  void Run() {
    for (int i = 0; i < 200 && !done_; ++i) Step();
    if (!gone_) Break();
    for (int i = 0; i < 200 && !done_; ++i) Complete();
    world_.RunFor(1000);
    EXPECT_TRUE(done_) << "the stream never ended";
    EXPECT_TRUE(quiet_);
    EXPECT_TRUE(told_ || closed_);
    EXPECT_EQ(wire_.use_count(), 1);
  }

 private:
  void Step() {
    switch (random_.Below(12)) {
      case 0:
      case 1:
        stream_->Send(1, 1);
        break;
      case 2:
        if (random_.OneIn(10)) Break();
        break;
      case 3:
        if (random_.OneIn(10)) {
          stream_->Close(absl::AbortedError("x"));
          quiet_ = closed_ = true;
        }
        break;
      case 4:
        if (random_.OneIn(15)) stream_->Fail(absl::AbortedError("y"));
        break;
      case 5:
      case 6:
        world_.Step();
        break;
      default:
        Complete();
    }
  }
  void Break() {
    gone_ = true;
    if (is_server_ && !wire_->finish.has_value()) stream_->OnBroken();
  }
  bool Fails() { return gone_ || wire_->cancelled || wire_->finish; }
  void Complete() {
    world_.Step();
    if (wire_->reading && random_.OneIn(2)) {
      wire_->reading = false;
      if (Fails() || random_.OneIn(30)) {
        stream_->OnReadEnd();
      } else {
        stream_->OnRead(++sent_);
      }
    } else if (wire_->writing.has_value() && random_.OneIn(2)) {
      wire_->writing.reset();
      stream_->OnWritten(!Fails());
    } else if (wire_->finish.has_value() && !wire_->reading) {
      done_ = true;
      stream_->OnDone(absl::AbortedError("z"));
    }
  }

  const bool is_server_;
  Random random_;
  SimWorld world_;
  std::unique_ptr<Executor> executor_;
  std::shared_ptr<FakeTransport> wire_;
  std::shared_ptr<Stream> stream_;
  int sent_ = 0;
  int heard_ = 0;
  bool gone_ = false;
  bool done_ = false;
  bool closed_ = false;  // by the owner
  bool told_ = false;
  bool quiet_ = false;
};

TEST(MessageStreamAnyOrderTest, EndsOnceWhateverTheOrder) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(seed);
    AnyOrder(/*is_server=*/true, seed).Run();
    AnyOrder(/*is_server=*/false, seed).Run();
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace sluice::rpc
