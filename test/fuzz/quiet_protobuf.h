// protobuf prints a line for each text that is not UTF-8: a fuzzer would write
// nothing else. Included by targets that parse messages.
#pragma once

#include <google/protobuf/stubs/logging.h>

namespace sluice::fuzz {

inline const auto kProtobufLog = google::protobuf::SetLogHandler(nullptr);

}  // namespace sluice::fuzz
