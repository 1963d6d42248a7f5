#include "tools/record_format.h"

#include "absl/strings/escaping.h"
#include "common/base/error.h"
#include <nlohmann/json.hpp>

namespace sluice::cli {
namespace {

constexpr std::string_view kKnown = "tpokvdhKV";

std::string HeadersText(const DecodedRecord& record) {
  std::string text;
  HeaderCursor headers(record);
  while (const auto header = headers.Next()) {
    if (!text.empty()) text += ',';
    text.append(header->key);
    text += '=';
    if (header->value.has_value()) text.append(*header->value);
  }
  return text;
}

bool IsUtf8(std::string_view text) {
  try {
    (void)nlohmann::json(std::string(text)).dump();
    return true;
  } catch (const nlohmann::json::exception&) {  // the library's only way
    return false;
  }
}

void Put(nlohmann::ordered_json& into, const std::string& name,
         const std::optional<std::string_view>& bytes) {
  if (!bytes.has_value()) {
    into[name] = nullptr;
  } else if (IsUtf8(*bytes)) {
    into[name] = std::string(*bytes);
  } else {
    into[name + "Base64"] = absl::Base64Escape(AbslView(*bytes));
  }
}

std::string SizeText(const std::optional<std::string_view>& bytes) {
  return bytes.has_value() ? std::to_string(bytes->size()) : "-1";
}

}  // namespace

absl::StatusOr<RecordFormat> RecordFormat::Parse(std::string_view text) {
  RecordFormat format;
  const auto literal = [&](char c) {
    if (format.pieces_.empty() || format.pieces_.back().what != 0) {
      format.pieces_.push_back({0, ""});
    }
    format.pieces_.back().literal += c;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '%' && next == '%') {
      literal('%');
      ++i;
    } else if (c == '%' && next != '\0' &&
               kKnown.find(next) != std::string_view::npos) {
      format.pieces_.push_back({next, ""});
      ++i;
    } else if (c == '%') {
      return MakeError(ErrorCode::kInvalidRequest, "--format '", text,
                       "': unknown %", std::string(next == 0 ? 0 : 1, next),
                       "; known: %t %p %o %k %v %d %h %K %V %%");
    } else if (c == '\\' && (next == 'n' || next == 't' || next == 'r' ||
                             next == '\\')) {
      literal(next == 'n' ? '\n' : next == 't' ? '\t' : next == 'r' ? '\r'
                                                                    : '\\');
      ++i;
    } else {
      literal(c);
    }
  }
  return format;
}

void RecordFormat::Append(const NamedPartition& tp,
                          const DecodedRecord& record,
                          std::string& out) const {
  for (const Piece& piece : pieces_) {
    switch (piece.what) {
      case 0: out += piece.literal; break;
      case 't': out += tp.topic; break;
      case 'p': out += std::to_string(tp.partition.value()); break;
      case 'o': out += std::to_string(record.offset.value()); break;
      case 'k': out.append(record.key.value_or("")); break;
      case 'v': out.append(record.value.value_or("")); break;
      case 'd': out += std::to_string(record.timestamp_ms); break;
      case 'h': out += HeadersText(record); break;
      case 'K': out += SizeText(record.key); break;
      case 'V': out += SizeText(record.value); break;
    }
  }
}

std::string RecordJson(const NamedPartition& tp, const DecodedRecord& record) {
  nlohmann::ordered_json json;
  json["topic"] = tp.topic;
  json["partition"] = tp.partition.value();
  json["offset"] = record.offset.value();
  json["timestampMs"] = record.timestamp_ms;
  Put(json, "key", record.key);
  Put(json, "value", record.value);
  HeaderCursor headers(record);
  while (const auto header = headers.Next()) {
    nlohmann::ordered_json one;
    Put(one, "key", header->key);
    Put(one, "value", header->value);
    json["headers"].push_back(std::move(one));
  }
  return json.dump();
}

}  // namespace sluice::cli
