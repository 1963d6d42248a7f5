// What every listener has; over gRPC's in-process transport but where the port
// is what is asked for.
#include "common/rpc/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/rpc/client_stream.h"
#include "common/rpc/status_wire.h"
#include "sluice/v1/cluster.grpc.pb.h"

namespace sluice::rpc {
namespace {

constexpr char kService[] = "sluice.v1.ClusterService";
// grpc.health.v1.HealthCheckResponse{status}: Debian has no header for it.
constexpr char kServing[] = "\x08\x01";
constexpr char kNotServing[] = "\x08\x02";

std::string Flat(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  EXPECT_TRUE(bytes.DumpToSingleSlice(&slice).ok());
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

grpc::ByteBuffer Bytes(const std::string& text) {
  grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

// A string field of a protobuf message.
std::string Field(int number, const std::string& value) {
  std::string out;
  out += static_cast<char>((number << 3) | 2);
  out += static_cast<char>(value.size());
  return out + value;
}

class RpcServerTest : public ::testing::Test {
 protected:
  RpcServerTest() {
    ListenerOptions options;
    options.name = "TEST";
    options.health_names = {kService};
    auto server = RpcServer::Start(std::move(options), {&cluster_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = server_->InProcessChannel(
        ChannelArgumentsFor(ChannelUse::kControl));
  }

  absl::StatusOr<std::string> Health(const std::string& service) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::ByteBuffer request =
        Bytes(service.empty() ? std::string() : Field(1, service));
    grpc::ByteBuffer response;
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<grpc::Status> status;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request,
                   &response, [&](grpc::Status s) {
                     std::lock_guard lock(mutex);
                     status = std::move(s);
                     changed.notify_all();
                   });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return status.has_value(); });
    if (!status->ok()) {
      return absl::Status(
          static_cast<absl::StatusCode>(status->error_code()),
          status->error_message());
    }
    return Flat(response);
  }

  v1::ClusterService::CallbackService cluster_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RpcServerTest, HealthFollowsTheSwitchForTheNodeAndEachService) {
  for (const std::string& name : {std::string(), std::string(kService)}) {
    EXPECT_EQ(Health(name).value(), kNotServing) << "at first";
  }

  server_->SetServing(true);
  for (const std::string& name : {std::string(), std::string(kService)}) {
    EXPECT_EQ(Health(name).value(), kServing);
  }

  server_->SetServing(false);
  EXPECT_EQ(Health("").value(), kNotServing);
  EXPECT_EQ(Health("no.such.Service").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(RpcServerTest, ItIsReachedThroughItsPort) {
  ListenerOptions options;
  options.name = "PORT";
  options.bind = {"127.0.0.1", 0};
  auto server = RpcServer::Start(std::move(options), {});
  ASSERT_TRUE(server.ok()) << server.status();
  (*server)->SetServing(true);
  channel_ = MakeChannel({"127.0.0.1", (*server)->port()},
                         ChannelUse::kControl);

  EXPECT_EQ(Health("").value(), kServing);

  (*server)->Shutdown(0);
  EXPECT_EQ(Health("").status().code(), absl::StatusCode::kUnavailable);
}

class ReflectionStream final
    : public ClientStream<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  std::string Await() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !answer_.empty(); });
    return answer_;
  }

 private:
  void OnMessage(grpc::ByteBuffer message) override {
    std::lock_guard lock(mutex_);
    answer_ = Flat(message);
    changed_.notify_all();
    Consumed();
  }
  void OnClosed(const absl::Status&) override {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string answer_;
  bool closed_ = false;
};

TEST_F(RpcServerTest, ReflectionNamesTheServices) {
  grpc::GenericStub stub(channel_);
  auto stream = std::make_shared<ReflectionStream>();
  stub.PrepareBidiStreamingCall(
      stream->context(),
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {},
      stream.get());
  stream->Start();
  stream->Send(Bytes(Field(/*list_services=*/7, "")));

  const std::string answer = stream->Await();

  EXPECT_NE(answer.find(kService), std::string::npos);
  EXPECT_NE(answer.find("grpc.health.v1.Health"), std::string::npos);
  stream->HalfClose();
}

TEST_F(RpcServerTest, ShutdownAndTheHealthSwitchAreHarmlessAfterShutdown) {
  server_->SetServing(true);
  server_->Shutdown(0);
  server_->Shutdown(0);
  server_->SetServing(true);
}

TEST(RpcServerStartTest, AnAddressThatIsNotOursIsNamed) {
  // TEST-NET-1: no machine has it, so no port is touched.
  ListenerOptions options;
  options.name = "PUBLIC";
  options.bind = {"192.0.2.1", 9001};

  const auto server = RpcServer::Start(std::move(options), {});

  ASSERT_FALSE(server.ok());
  EXPECT_EQ(CodeOf(server.status()), ErrorCode::kInvalidConfig);
  const std::string text(server.status().message());
  EXPECT_NE(text.find("PUBLIC"), std::string::npos) << text;
  EXPECT_NE(text.find("192.0.2.1:9001"), std::string::npos) << text;
  EXPECT_NE(text.find("Cannot assign requested address"), std::string::npos)
      << text;
}

TEST(RpcServerStartTest, QueuesThatWereNotTakenAreDrained) {
  ListenerOptions options;
  options.name = "INTERNAL";
  options.completion_queues = 2;
  const auto server = RpcServer::Start(std::move(options), {});
  EXPECT_TRUE(server.ok()) << server.status();
}

}  // namespace
}  // namespace sluice::rpc
