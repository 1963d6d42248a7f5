// How `sluice consume` prints a record: a format string, parsed once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/fetched_batch.h"

namespace sluice::cli {

// %t topic, %p partition, %o offset, %k key, %v value, %d timestamp (ms since
// 1970), %h headers, %K and %V sizes (-1: null), %%; \n \t \r \\ .
class RecordFormat {
 public:
  // INVALID_REQUEST names what it does not know.
  static absl::StatusOr<RecordFormat> Parse(std::string_view text);

  void Append(const NamedPartition& tp, const DecodedRecord& record,
              std::string& out) const;

 private:
  struct Piece {
    char what = 0;  // 0: literal
    std::string literal;
  };
  std::vector<Piece> pieces_;
};

// One line of JSON. Keys and values that are UTF-8 as text ("key", "value"),
// others in base64 ("keyBase64", "valueBase64"); null stays null.
std::string RecordJson(const NamedPartition& tp, const DecodedRecord& record);

}  // namespace sluice::cli
