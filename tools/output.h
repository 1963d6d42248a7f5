// How data is printed: tables for people, the proto's JSON (or the same as
// YAML) for programs.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sluice::cli {

enum class OutputFormat { kTable, kWide, kJson, kYaml, kName, kHelp };

// What -o accepts; kTable for anything else.
OutputFormat OutputFormatFromName(std::string_view name);

// Columns as wide as their widest cell, two spaces apart.
class Table {
 public:
  explicit Table(std::vector<std::string> header)
      : header_(std::move(header)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

std::string JsonOf(const google::protobuf::Message& message);
std::string YamlOf(const nlohmann::ordered_json& json);
// Every field, empty: what -o help prints.
std::string ShapeOf(const google::protobuf::Message& message);

// Prints `message` to stdout as -o asks; `people` prints the table, wide and name forms.
void Print(OutputFormat format, const google::protobuf::Message& message,
           const std::function<void(OutputFormat)>& people);
// The same for what has no proto.
void Print(OutputFormat format, const nlohmann::ordered_json& json,
           const std::function<void(OutputFormat)>& people);

// -o help asks for no cluster: prints the shape and returns true.
bool PrintedShape(OutputFormat format,
                  const google::protobuf::Message& message);

std::string HexOf(std::string_view bytes);
// "1,2,3".
template <class Numbers>
std::string Joined(const Numbers& numbers) {
  std::string text;
  for (const auto& number : numbers) {
    if (!text.empty()) text += ',';
    text += std::to_string(number);
  }
  return text.empty() ? "-" : text;
}
// "1.5 MiB".
std::string HumanBytes(double bytes);

}  // namespace sluice::cli
