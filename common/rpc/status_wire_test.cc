#include "common/rpc/status_wire.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::rpc {
namespace {

constexpr ErrorCode kAllCodes[] = {
#define X(id, name, number, status_code, retriable) ErrorCode::id,
    SLUICE_ERRORS(X)
#undef X
};

google::rpc::Status RichOf(const grpc::Status& status) {
  google::rpc::Status rich;
  EXPECT_TRUE(rich.ParseFromString(status.error_details()));
  return rich;
}

TEST(StatusWireTest, EveryErrorComesBackAsItself) {
  for (const ErrorCode code : kAllCodes) {
    const absl::Status sent = MakeError(code, "topic 'a': ", NameOf(code));

    const absl::Status back = FromGrpcStatus(ToGrpcStatus(sent));

    EXPECT_EQ(CodeOf(back), code);
    EXPECT_EQ(back.code(), sent.code());
    EXPECT_EQ(back.message(), sent.message());
  }
}

TEST(StatusWireTest, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(StatusWireTest, ErrorInfoNamesTheErrorAndRetryInfoSaysWhen) {
  for (const ErrorCode code : kAllCodes) {
    const auto rich = RichOf(ToGrpcStatus(MakeError(code, "x")));

    ASSERT_GE(rich.details_size(), 1);
    google::rpc::ErrorInfo info;
    ASSERT_TRUE(rich.details(0).UnpackTo(&info));
    EXPECT_EQ(info.domain(), "sluice");
    EXPECT_EQ(info.reason(), NameOf(code));
    EXPECT_EQ(info.metadata().at("code"), StrCat(static_cast<int>(code)));
    google::rpc::RetryInfo retry;
    const bool has_retry =
        rich.details_size() == 2 && rich.details(1).UnpackTo(&retry);
    EXPECT_EQ(has_retry, IsRetriable(code)) << NameOf(code);
    if (has_retry) {
      EXPECT_GT(retry.retry_delay().seconds() + retry.retry_delay().nanos(), 0);
    }
  }
}

TEST(StatusWireTest, FactsTravelBothWays) {
  absl::Status status = MakeError(ErrorCode::kNotController, "node 2");
  SetFact(status, "leader_id", "3");
  SetFact(status, "endpoint", "127.0.0.1:9001");

  const absl::Status back = FromGrpcStatus(ToGrpcStatus(status));

  EXPECT_EQ(FactsOf(back), FactsOf(status));
  EXPECT_EQ(FactsOf(back).at("leader_id"), "3");
}

TEST(StatusWireTest, AHugeOrForeignTextFitsIntoTheTrailers) {
  absl::Status status =
      MakeError(ErrorCode::kInvalidTopic, std::string(100'000, '\xff'));
  for (int i = 0; i < 100; ++i) {
    SetFact(status, StrCat("fact", i), std::string(10'000, 'v'));
  }

  const grpc::Status wire = ToGrpcStatus(status);

  EXPECT_EQ(wire.error_message(), std::string(kStatusMessageBytesMax, '?'));
  // base64 makes 4 bytes of 3, and a percent-encoded text up to 3 of 1.
  EXPECT_LT(wire.error_details().size() * 4 / 3 + wire.error_message().size(),
            9000u);
  EXPECT_EQ(CodeOf(FromGrpcStatus(wire)), ErrorCode::kInvalidTopic);
}

TEST(StatusWireTest, AStatusWithoutACodeIsNamedByItsClass) {
  EXPECT_EQ(CodeOf(FromGrpcStatus(
                ToGrpcStatus(absl::InvalidArgumentError("bad")))),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeOf(FromGrpcStatus(ToGrpcStatus(absl::UnknownError("?")))),
            ErrorCode::kUnknownServerError);
}

TEST(StatusWireTest, TransportErrorsCarryNoCodeOfOurs) {
  for (const auto code :
       {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED}) {
    const auto status = FromGrpcStatus(grpc::Status(code, "Socket closed"));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(CodeOf(status), ErrorCode::kBrokerNotAvailable);
  }
  EXPECT_EQ(FromGrpcStatus(grpc::Status(grpc::StatusCode::INTERNAL,
                                        "Received RST_STREAM with code 2"))
                .code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(FromGrpcStatus(
                grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "late"))
                .code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(StatusWireTest, WhatGrpcItselfRefusesHasANameToo) {
  EXPECT_EQ(CodeOf(FromGrpcStatus(grpc::Status(
                grpc::StatusCode::RESOURCE_EXHAUSTED,
                "Received message larger than max (20 vs. 10)"))),
            ErrorCode::kRequestTooLarge);
  EXPECT_EQ(CodeOf(FromGrpcStatus(grpc::Status(
                grpc::StatusCode::RESOURCE_EXHAUSTED, "memory"))),
            ErrorCode::kBusy);
  EXPECT_EQ(CodeOf(FromGrpcStatus(
                grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""))),
            ErrorCode::kUnsupportedVersion);
}

TEST(StatusWireTest, DetailsThatAreNotOursOrBrokenAreNotBelieved) {
  EXPECT_EQ(FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "x",
                                        "\xff\xff not a proto"))
                .code(),
            absl::StatusCode::kUnavailable);

  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  info.set_domain("googleapis.com");
  info.set_reason("NOT_LEADER");
  rich.add_details()->PackFrom(info);
  EXPECT_NE(CodeOf(FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                               "x", rich.SerializeAsString()))),
            ErrorCode::kNotLeader);
}

TEST(StatusWireTest, ANewerPeersErrorKeepsItsClassAndName) {
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  info.set_domain("sluice");
  info.set_reason("FROM_THE_FUTURE");
  rich.add_details()->PackFrom(info);

  const auto status = FromGrpcStatus(grpc::Status(
      grpc::StatusCode::NOT_FOUND, "x", rich.SerializeAsString()));

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(StdView(status.message()), "x [FROM_THE_FUTURE]");
}

TEST(StatusWireTest, ItemErrorsComeBackAsThemselves) {
  for (const ErrorCode code : kAllCodes) {
    api::ItemError sent(code, "partition 3");
    sent.retry_after_ms = 7;
    v1::Error proto;
    ItemErrorToProto(sent, &proto);

    const api::ItemError back = ItemErrorFromProto(proto);

    EXPECT_EQ(back.code, code);
    EXPECT_EQ(back.message, sent.message);
    EXPECT_EQ(back.retry_after_ms, 7);
    EXPECT_TRUE(v1::ErrorCode_IsValid(static_cast<int>(code)))
        << NameOf(code) << " is missing in common.proto";
    EXPECT_EQ(v1::ErrorCode_Name(proto.code()),
              StrCat("ERROR_CODE_", NameOf(code)));
  }
  EXPECT_EQ(std::size(kAllCodes) + 1,
            static_cast<size_t>(v1::ErrorCode_descriptor()->value_count()));
}

TEST(StatusWireTest, HostileItemErrorsAreTamed) {
  v1::Error proto;
  proto.set_code(static_cast<v1::ErrorCode>(123456));
  proto.set_retry_after_ms(-5);

  const api::ItemError error = ItemErrorFromProto(proto);

  EXPECT_EQ(error.code, ErrorCode::kUnknownServerError);
  EXPECT_EQ(error.retry_after_ms, 0);
}

TEST(StatusWireTest, WireTextKeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(WireText("h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80", 100),
            "h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(WireText("a\xff" "b\xc3", 100), "a?b?");
  EXPECT_EQ(WireText("\xc0\x80", 100), "??") << "overlong";
  EXPECT_EQ(WireText("\xed\xa0\x80", 100), "???") << "a surrogate";
  EXPECT_EQ(WireText("\xf4\x90\x80\x80", 100), "????") << "past U+10FFFF";
  EXPECT_EQ(WireText("ab\xe2\x82\xac", 4), "ab") << "cut on a boundary";
  EXPECT_EQ(WireText("", 10), "");
}

}  // namespace
}  // namespace sluice::rpc
