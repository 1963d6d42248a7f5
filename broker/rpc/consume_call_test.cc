// Consume streams from a client to a scripted broker.
#include <gtest/gtest.h>

#include <memory>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/served_stream_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"
#include "sluice/v1/group.grpc.pb.h"

namespace sluice {
namespace {

using Stream =
    ServedStream<v1::ConsumeRequest, ConsumePush, v1::ConsumeResponse>;
using Client = ServedClient<
    rpc::ClientStream<v1::ConsumeRequest, v1::ConsumeResponse>, Stream>;

class ConsumeCallTest : public PublicEdgeTest {
 protected:
  ConsumeCallTest() { consumers_.on_consume = Serving(stream_); }

  std::shared_ptr<Client> Open() {
    auto client = std::make_shared<Client>(stream_);
    stub_->async()->Consume(client->context(), client.get());
    client->Start();
    stream_->AwaitOpen();
    return client;
  }
  static ConsumePush Records() {
    ConsumePush push;
    v1::ConsumeRecords* records = push.message.mutable_records();
    records->mutable_topic()->set_name("orders");
    records->set_partition(3);
    records->set_next_offset(12);
    records->set_charged_bytes(9'000);
    return push;
  }

  const std::shared_ptr<Stream> stream_ = std::make_shared<Stream>();
  std::unique_ptr<v1::GroupService::Stub> stub_ =
      v1::GroupService::NewStub(channel_);
};

// The session is there before the client has said anything.
TEST_F(ConsumeCallTest, MessagesAndTheHalfCloseArriveInOrder) {
  auto client = Open();
  EXPECT_EQ(stream_->caller.listener, "PUBLIC");
  for (int i = 1; i <= 50; ++i) {
    v1::ConsumeRequest request;
    request.set_credit_bytes(i);
    client->Send(std::move(request));
  }
  client->HalfClose();
  stream_->Await([&] { return !stream_->no_more.empty(); });
  ASSERT_EQ(stream_->requests.size(), 50u);
  for (int i = 1; i <= 50; ++i) {
    EXPECT_EQ(stream_->requests[i - 1].credit_bytes(), i);
  }
  EXPECT_TRUE(stream_->no_more[0].ok());
  // What it says behind the half-close still arrives.
  ConsumePush last;
  last.message.mutable_committed()->add_results()->set_offset(7);
  stream_->sink->Push(std::move(last));
  stream_->sink->Finish(absl::OkStatus());
  stream_->AwaitEnd();
  ASSERT_EQ(stream_->answers.size(), 1u);
  EXPECT_EQ(stream_->answers[0].committed().results(0).offset(), 7);
  EXPECT_TRUE(stream_->ended[0].ok()) << stream_->ended[0];
}

TEST_F(ConsumeCallTest, RecordsCrossInBothForms) {
  auto client = Open();
  ConsumePush batches = Records();
  batches.batches = {Buffer::Take(std::string(3'000, 'a')),
                     Buffer::Take(std::string(5, 'b'))};
  stream_->sink->Push(std::move(batches));
  ConsumePush typed = Records();
  api::Record record;
  record.offset = Offset(11);
  record.value = "v";
  typed.records.push_back(record);
  stream_->sink->Push(std::move(typed));
  stream_->Await([&] { return stream_->answers.size() == 2; });
  for (const auto& push : stream_->answers) {
    EXPECT_EQ(push.records().topic().name(), "orders");
    EXPECT_EQ(push.records().partition(), 3);
    EXPECT_EQ(push.records().next_offset(), 12);
    EXPECT_EQ(push.records().charged_bytes(), 9'000);
  }
  EXPECT_EQ(stream_->answers[0].records().batches(),
            std::string(3'000, 'a') + std::string(5, 'b'));
  ASSERT_EQ(stream_->answers[1].records().records().records_size(), 1);
  EXPECT_EQ(stream_->answers[1].records().records().records(0).value(), "v");
  stream_->Await([&] { return stream_->drained > 0; });
  stream_->sink->Finish(MakeError(ErrorCode::kTakenOver, "a newer stream"));
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kTakenOver);
}

TEST_F(ConsumeCallTest, AClientThatIsGoneClosesItsSession) {
  auto client = Open();
  client->Close(absl::CancelledError("gone"));
  // It may look half-closed before: the session waits a moment for this.
  stream_->Await([&] { return stream_->closed == 1; });
  std::lock_guard lock(stream_->mutex);
  EXPECT_LE(stream_->no_more.size(), 1u);
}

TEST_F(ConsumeCallTest, AStopAsksTheSessionToEnd) {
  auto client = Open();
  edge_->Drain();
  stream_->Await([&] { return !stream_->no_more.empty(); });
  EXPECT_EQ(CodeOf(stream_->no_more[0]), ErrorCode::kShuttingDown);
  stream_->sink->Finish(stream_->no_more[0]);
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace sluice
