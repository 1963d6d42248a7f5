// What is told when a command line cannot be parsed.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}

namespace sluice::cli {

// Cause, command and next step. `root` has just refused the command line with
// `error`. A word that is no command is named, with those that there are.
std::string UsageErrorText(const CLI::App& root, const CLI::ParseError& error);

}  // namespace sluice::cli
