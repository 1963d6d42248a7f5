#include "tools/output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>

#include <nlohmann/json.hpp>

namespace sluice::cli {
namespace {

// A word YAML would take for something else, or with a character it minds.
bool NeedsQuotes(const std::string& text) {
  if (text.empty()) return true;
  return text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/") !=
             std::string::npos ||
         text == "true" || text == "false" || text == "null" ||
         text == "yes" || text == "no" || text == "on" || text == "off" ||
         text == "y" || text == "n";
}

std::string YamlScalar(const nlohmann::ordered_json& json) {
  if (!json.is_string()) return json.dump();
  const std::string text = json.get<std::string>();
  // A JSON string is a YAML double-quoted string.
  return NeedsQuotes(text) ? json.dump() : text;
}

bool IsBlock(const nlohmann::ordered_json& json) {
  return (json.is_object() || json.is_array()) && !json.empty();
}

void PutYaml(const nlohmann::ordered_json& json, int indent,
             std::string& out) {
  const std::string margin(indent, ' ');
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      out += margin + (NeedsQuotes(key) ? nlohmann::json(key).dump() : key);
      out += ':';
      if (IsBlock(value)) {
        out += '\n';
        PutYaml(value, indent + 2, out);
      } else {
        out += ' ' + YamlScalar(value) + '\n';
      }
    }
    return;
  }
  for (const auto& value : json) {
    if (!IsBlock(value)) {
      out += margin + "- " + YamlScalar(value) + '\n';
      continue;
    }
    std::string block;
    PutYaml(value, indent + 2, block);
    block[indent] = '-';  // "- key: ..." in place of its first indentation
    out += block;
  }
}

google::protobuf::util::JsonPrintOptions JsonOptions() {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  return options;
}

}  // namespace

OutputFormat OutputFormatFromName(std::string_view name) {
  if (name == "wide") return OutputFormat::kWide;
  if (name == "json") return OutputFormat::kJson;
  if (name == "yaml") return OutputFormat::kYaml;
  if (name == "name") return OutputFormat::kName;
  if (name == "help") return OutputFormat::kHelp;
  return OutputFormat::kTable;
}

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  const auto measure = [&](const std::vector<std::string>& row) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  };
  measure(header_);
  for (const auto& row : rows_) measure(row);
  const auto print = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    out << line << '\n';
  };
  print(header_);
  for (const auto& row : rows_) print(row);
}

std::string JsonOf(const google::protobuf::Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(
      message, &json, JsonOptions());
  return status.ok() ? json : "{}\n";
}

std::string YamlOf(const nlohmann::ordered_json& json) {
  if (!IsBlock(json)) return json.dump() + "\n";
  std::string out;
  PutYaml(json, 0, out);
  return out;
}

std::string ShapeOf(const google::protobuf::Message& message) {
  const std::unique_ptr<google::protobuf::Message> shape(message.New());
  // One of each nested message, two levels deep, so that its fields show.
  const std::function<void(google::protobuf::Message&, int)> fill =
      [&](google::protobuf::Message& into, int depth) {
        const auto* r = into.GetReflection();
        const auto* d = into.GetDescriptor();
        for (int i = 0; i < d->field_count(); ++i) {
          const auto* field = d->field(i);
          if (field->cpp_type() !=
                  google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE ||
              field->is_map() || depth == 0) {
            continue;
          }
          fill(field->is_repeated() ? *r->AddMessage(&into, field)
                                    : *r->MutableMessage(&into, field),
               depth - 1);
        }
      };
  fill(*shape, 4);
  return JsonOf(*shape);
}

void Print(OutputFormat format, const google::protobuf::Message& message,
           const std::function<void(OutputFormat)>& people) {
  switch (format) {
    case OutputFormat::kJson:
      std::cout << JsonOf(message);
      return;
    case OutputFormat::kYaml:
      std::cout << YamlOf(nlohmann::ordered_json::parse(JsonOf(message)));
      return;
    case OutputFormat::kHelp:
      std::cout << ShapeOf(message);
      return;
    default:
      people(format);
  }
}

void Print(OutputFormat format, const nlohmann::ordered_json& json,
           const std::function<void(OutputFormat)>& people) {
  switch (format) {
    case OutputFormat::kJson:
    case OutputFormat::kHelp:
      std::cout << json.dump(1) << '\n';
      return;
    case OutputFormat::kYaml:
      std::cout << YamlOf(json);
      return;
    default:
      people(format);
  }
}

bool PrintedShape(OutputFormat format,
                  const google::protobuf::Message& message) {
  if (format != OutputFormat::kHelp) return false;
  std::cout << ShapeOf(message);
  return true;
}

std::string HexOf(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string HumanBytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes,
                kUnits[unit]);
  return text;
}

}  // namespace sluice::cli
