// The command line of sluiced.
#pragma once

#include <optional>

#include "broker/node_config.h"

namespace sluice {

// Parses argv and flag files. A number: what was asked for (--help, --version)
// is printed, the process is to end with it. A flag that does not exist, on
// the command line or in a file, or does not parse ends the process with 1, as gflags does.
std::optional<int> ParseCommandLine(int* argc, char*** argv,
                                    NodeFlags* flags);

}  // namespace sluice
