#include "broker/consume/resume_token.h"

#include <optional>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace sluice::consume {
namespace {

constexpr char kVersion = 1;

void PutText(std::string& out, std::string_view text) {
  PutBig16(out, static_cast<uint16_t>(text.size()));
  out.append(text);
}

std::optional<std::string> TakeText(ByteReader& in) {
  const auto size = in.Big16();
  if (!size.has_value()) return std::nullopt;
  const auto text = in.Bytes(*size);
  if (!text.has_value()) return std::nullopt;
  return std::string(*text);
}

}  // namespace

std::string EncodeResumeToken(const ResumeToken& token) {
  std::string out(1, kVersion);
  PutText(out, token.group);
  PutText(out, token.member_id);
  PutText(out, token.stream);
  PutBig32(out, static_cast<uint32_t>(token.generation));
  PutBig32(out, token.subscription);
  return out;
}

absl::StatusOr<ResumeToken> DecodeResumeToken(std::string_view bytes) {
  ByteReader in(bytes);
  const auto version = in.U8();
  if (bytes.size() <= kTokenBytesMax && version == uint8_t{kVersion}) {
    const auto group = TakeText(in);
    const auto member = TakeText(in);
    const auto stream = TakeText(in);
    const auto generation = in.Big32();
    const auto subscription = in.Big32();
    if (subscription.has_value() && in.remaining() == 0 && !member->empty() &&
        !stream->empty()) {
      return ResumeToken{*group, *member, *stream,
                         static_cast<int32_t>(*generation), *subscription};
    }
  }
  return MakeError(ErrorCode::kInvalidRequest, "a resume token of ",
                   bytes.size(),
                   " bytes that no broker of this version gave; open the "
                   "stream without it");
}

uint32_t SubscriptionDigest(const std::set<std::string>& topics,
                            const std::vector<consumer::Assignor>& assignors) {
  std::string all;
  for (const std::string& topic : topics) PutText(all, topic);
  for (const consumer::Assignor assignor : assignors) {
    PutText(all, consumer::NameOf(assignor));
  }
  return Crc32c(all);
}

}  // namespace sluice::consume
