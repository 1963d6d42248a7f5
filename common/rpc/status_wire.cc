#include "common/rpc/status_wire.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::rpc {
namespace {

constexpr absl::string_view kFactUrl = "sluice/fact/";
constexpr char kCodeFact[] = "code";
constexpr size_t kItemMessageBytesMax = 4096;

// Bytes of the UTF-8 character that starts at `text`, 0 when it is none.
size_t CharacterSize(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t size = 0;
  uint32_t value = 0;
  if ((first & 0xE0) == 0xC0) {
    size = 2;
    value = first & 0x1F;
  } else if ((first & 0xF0) == 0xE0) {
    size = 3;
    value = first & 0x0F;
  } else if ((first & 0xF8) == 0xF0) {
    size = 4;
    value = first & 0x07;
  } else {
    return 0;
  }
  if (text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = (value << 6) | (byte(i) & 0x3F);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[size] || value > 0x10FFFF || surrogate) return 0;
  return size;
}

bool HasText(const std::string& text, absl::string_view part) {
  return text.find(part.data(), 0, part.size()) != std::string::npos;
}

// What gRPC says without our details.
absl::Status TransportStatus(const grpc::Status& status) {
  const std::string& text = status.error_message();
  const auto unavailable = [&] {
    return absl::UnavailableError(StrCat("connection: ", text));
  };
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
      return unavailable();
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return absl::DeadlineExceededError(StrCat("deadline: ", text));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (HasText(text, "larger than max")) {
        return MakeError(ErrorCode::kRequestTooLarge, "message: ", text,
                         "; send or ask for less at once");
      }
      return MakeError(ErrorCode::kBusy, "peer: ", text, "; try again");
    case grpc::StatusCode::UNIMPLEMENTED:
      return MakeError(ErrorCode::kUnsupportedVersion,
                       "the peer does not know this call: is it a broker's "
                       "address for clients (--listen)? If so, compare the "
                       "versions",
                       text.empty() ? "" : StrCat(" (", text, ")"));
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
      // A stream that the other end's HTTP/2 reset.
      if (HasText(text, "RST_STREAM")) return unavailable();
      [[fallthrough]];
    default:
      return absl::Status(
          static_cast<absl::StatusCode>(status.error_code()), text);
  }
}

}  // namespace

std::string WireText(std::string_view text, size_t bytes_max) {
  std::string out;
  out.reserve(std::min(text.size(), bytes_max));
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    const size_t take = std::max<size_t>(size, 1);
    if (out.size() + take > bytes_max) break;
    if (size == 0) {
      out.push_back('?');
    } else {
      out.append(text.substr(0, size));
    }
    text.remove_prefix(take);
  }
  return out;
}

void SetFact(absl::Status& status, std::string_view name,
             std::string_view value) {
  if (status.ok()) return;
  status.SetPayload(StrCat(kFactUrl, name), absl::Cord(AbslView(value)));
}

std::map<std::string, std::string> FactsOf(const absl::Status& status) {
  std::map<std::string, std::string> facts;
  status.ForEachPayload(
      [&facts](absl::string_view url, const absl::Cord& value) {
        if (url.substr(0, kFactUrl.size()) != kFactUrl) return;
        url.remove_prefix(kFactUrl.size());
        facts.emplace(std::string(url), std::string(value));
      });
  return facts;
}

int64_t RetryDelayMs(ErrorCode code) {
  if (!IsRetriable(code)) return 0;
  switch (code) {
    // Another node has the answer already.
    case ErrorCode::kNotLeader:
    case ErrorCode::kNotController:
    case ErrorCode::kShuttingDown:
      return 20;
    // Needs an operator or a replica to come back.
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kStorageError:
    case ErrorCode::kStorageFull:
      return 500;
    default:
      return 100;
  }
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const ErrorCode code = CodeOf(status);
  const std::string message =
      WireText(StdView(status.message()), kStatusMessageBytesMax);

  google::rpc::Status rich;
  rich.set_code(static_cast<int32_t>(CanonicalCodeOf(code)));
  rich.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain(kErrorDomain);
  info.set_reason(std::string(NameOf(code)));
  auto& metadata = *info.mutable_metadata();
  for (const auto& [name, value] : FactsOf(status)) {
    if (metadata.size() == kFactsMax) break;
    metadata[WireText(name, kFactBytesMax)] = WireText(value, kFactBytesMax);
  }
  metadata[kCodeFact] = StrCat(static_cast<int32_t>(code));
  rich.add_details()->PackFrom(info);
  if (const int64_t delay_ms = RetryDelayMs(code); delay_ms > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(delay_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(delay_ms % 1000) * 1'000'000);
    rich.add_details()->PackFrom(retry);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(rich.code()), message,
                      rich.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status rich;
  if (!status.error_details().empty() &&
      rich.ParseFromString(status.error_details())) {
    for (const auto& detail : rich.details()) {
      google::rpc::ErrorInfo info;
      if (!detail.Is<google::rpc::ErrorInfo>() || !detail.UnpackTo(&info) ||
          info.domain() != kErrorDomain) {
        continue;
      }
      const ErrorCode code = CodeFromName(info.reason());
      if (code == ErrorCode::kNone) break;
      // A newer peer's error: its class says what the name cannot.
      const bool unknown = NameOf(code) != info.reason();
      absl::Status out =
          unknown ? absl::Status(static_cast<absl::StatusCode>(
                                     status.error_code()),
                                 StrCat(status.error_message(), " [",
                                        info.reason(), "]"))
                  : MakeErrorStatus(code, status.error_message());
      for (const auto& [name, value] : info.metadata()) {
        if (name != kCodeFact) SetFact(out, name, value);
      }
      return out;
    }
  }
  return TransportStatus(status);
}

void ItemErrorToProto(const api::ItemError& error, v1::Error* out) {
  if (error.ok()) return;
  out->set_code(static_cast<v1::ErrorCode>(error.code));
  out->set_message(WireText(error.message, kItemMessageBytesMax));
  out->set_retry_after_ms(error.retry_after_ms);
}

api::ItemError ItemErrorFromProto(const v1::Error& error) {
  api::ItemError out(CodeFromNumber(static_cast<int32_t>(error.code())),
                     error.message());
  out.retry_after_ms = std::max(0, error.retry_after_ms());
  return out;
}

}  // namespace sluice::rpc
